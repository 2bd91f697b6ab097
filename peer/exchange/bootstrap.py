"""The DHT's bootstrap node: `python -m peer.exchange.bootstrap`, started and watched by the coordinator.

Through it members reach those that they cannot dial, and learn where the run is led after a hand-over (`--handover`).
With `--relay` it also carries the run's payloads, when the round's leader finds that this is faster.

With `--papers` it says first which node it is, {"node": "<hex>"}, and begins when that file holds its pass, which the
coordinator renews there; `--authority` is the coordinator's certificate. Prints {"maddrs": [...]} when it answers, then
lives until SIGTERM. Its key and port are kept, so that peers find it again after a restart.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from peer.doorkeeper import Doorkeeper
from peer.exchange import guard
from swarm import lifetime, log, notes
from swarm.errors import StalledError
from swarm.passes import NODE, Authority
from swarm.tensorfile import publish, sync

if TYPE_CHECKING:
    from hivemind import DHT

logger = log.get(__name__)

_RELAY_ROOM = 1 << 30  # bytes of payloads in memory, at most
_CALL_SECONDS = 10.0
_OFFER_SECONDS = 7.5
_PASS_SECONDS = 15.0


def main() -> None:
    """Entry point; exit code 5 with a sentence on stderr when the network cannot be entered."""
    options = _arguments()
    lifetime.follow_parent()
    folder = _fresh_folder(options.data_dir / "p2p.folder")
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    ending = threading.Lock()
    lifetime.when_told(lambda: _end(ending, folder), signal.SIGTERM, signal.SIGINT)
    failure = None
    try:
        _serve(options)
    except Exception as error:
        failure = error
    _end(ending, folder, failure)


def _fresh_folder(note: Path) -> str:
    """A temporary folder for sockets; that of a node which was killed before it could clean up is removed."""
    lifetime.remove_folder(Path(notes.kept(note)))
    folder = tempfile.mkdtemp(prefix="swarm-")
    notes.keep(note, folder)
    return folder


def _serve(options: argparse.Namespace) -> None:
    guard.prepare()
    key = _kept_key(options.data_dir / "p2p.key")
    doorkeeper = _doorkeeper(options, key) if options.papers else None
    dht = _start(options, key, doorkeeper)
    maddrs = [str(address) for address in dht.get_visible_maddrs()]
    advertised = (
        [_with_host(address, options.advertise_host) for address in maddrs[:1]] if options.advertise_host else []
    )
    print(json.dumps({"maddrs": list(dict.fromkeys([*advertised, *maddrs]))}), flush=True)  # noqa: T201
    offer = _offers(dht, options, doorkeeper)
    while dht.is_alive():
        offer()
        dht.join(_OFFER_SECONDS)


def _doorkeeper(options: argparse.Namespace, key: str) -> Doorkeeper:
    """Once there is a pass for this node. Raises StalledError."""
    from peer.exchange.nodekey import NodeKey

    node = NodeKey.load(Path(key)).peer_id
    print(json.dumps({"node": node.hex()}), flush=True)  # noqa: T201
    doorkeeper = Doorkeeper(Authority.of(options.run, options.authority.read_bytes()), options.papers)
    end = time.monotonic() + _PASS_SECONDS
    while why := doorkeeper.objection(node, doorkeeper.papers.own, {NODE}):
        if time.monotonic() > end:
            raise StalledError(f"The coordinator's node has no pass: {why}.", "Start the coordinator again.")
        time.sleep(0.05)
    return doorkeeper


def _offers(dht: DHT, options: argparse.Namespace, doorkeeper: Doorkeeper | None) -> Callable[[], None]:
    """Carry payloads from now on, if asked to; call what this returns again and again, so that members know of it, and
    of the run's last hand-over.
    """
    from peer.exchange.carrier import Carrier
    from peer.exchange.handlers import Handlers
    from peer.exchange.loop import LoopThread
    from peer.exchange.node import announce_handover, offer_relay, records_of
    from peer.exchange.roll import Roll

    roll = Roll(doorkeeper)
    roll.look = lambda: records_of(dht, options.run, "members", roll)

    async def begin() -> bytes:
        p2p = await dht.replicate_p2p()
        if options.relay:
            await Handlers(roll).put_up(Carrier(_RELAY_ROOM), p2p, options.run)
        return bytes(p2p.peer_id.to_bytes())

    loop = LoopThread()
    node = loop.run(begin(), _CALL_SECONDS)

    def offer() -> None:
        with suppress(TimeoutError):
            if options.relay:
                loop.run(offer_relay(dht, options.run, node), _CALL_SECONDS)
            if options.handover and (text := notes.kept(options.handover)):
                loop.run(announce_handover(dht, options.run, node, text), _CALL_SECONDS)

    return offer


def _start(options: argparse.Namespace, key: str, doorkeeper: Doorkeeper | None) -> DHT:
    from peer.exchange.node import NodeOptions, start_dht
    from swarm.errors import UnreachableError

    # p2pd starts two relays, one with our limits and one with libp2p's own, and the later one serves: on one processor
    # that is ours, see docs/decisions/0008-peers-behind-nat.md.
    os.environ["GOMAXPROCS"] = "1"
    port = _kept_port(options.data_dir, options.host)
    node = NodeOptions(options.run, options.initial_peers, options.host, port, key, relays=True, doorkeeper=doorkeeper)
    try:
        return start_dht(node)
    except UnreachableError:
        if not options.initial_peers:
            raise
        return start_dht(replace(node, initial_peers=()))  # the members of last time are gone


def _kept_port(data_dir: Path, host: str) -> int:
    """The port of last time when it is free, else a free one, kept for next time."""
    note = data_dir / "p2p.port"
    kept = notes.kept(note)
    for port in (int(kept) if kept.isdecimal() else 0, 0):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except (OSError, OverflowError):
                continue
            found = int(probe.getsockname()[1])
            notes.keep(note, str(found))
            return found
    return 0


def _kept_key(path: Path) -> str:
    """The file of the node's key; another one when it is torn, because members find the node by what the coordinator
    says.
    """
    from hivemind.p2p import P2P

    if not _is_key(path):
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.unlink(missing_ok=True)
        P2P.generate_identity(str(temporary))
        sync(temporary)
        publish(temporary, path)
    return str(path)


def _is_key(path: Path) -> bool:
    from google.protobuf.message import DecodeError
    from hivemind.p2p import PeerID

    try:
        PeerID.from_identity(path.read_bytes())
    except FileNotFoundError:
        return False
    except (DecodeError, ValueError):
        logger.warning("%s is torn or was altered; it is not used, and a new key is made", path)
        return False
    return True


def _with_host(maddr: str, host: str) -> str:
    parts = maddr.split("/")
    parts[1], parts[2] = _kind(host), host
    return "/".join(parts)


def _kind(host: str) -> str:
    if ":" in host:
        return "ip6"
    return "ip4" if host.replace(".", "").isdigit() else "dns"


def _end(ending: threading.Lock, folder: str, failure: Exception | None = None) -> None:
    """Leave. The thread that begins with it goes through: the other one only sees connections fail by that."""
    ending.acquire()
    guard.kill_children()
    shutil.rmtree(folder, ignore_errors=True)
    if failure is not None:
        with suppress(OSError):  # the coordinator that reads it may be dead
            print(failure, file=sys.stderr, flush=True)  # noqa: T201
    os._exit(0 if failure is None else getattr(failure, "exit_code", 1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m peer.exchange.bootstrap")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--advertise-host", default="")
    parser.add_argument("--initial-peers", nargs="*", default=[])
    parser.add_argument("--run", default="")
    parser.add_argument("--relay", action="store_true")
    parser.add_argument("--handover", type=Path)
    parser.add_argument("--papers", type=Path)
    parser.add_argument("--authority", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
