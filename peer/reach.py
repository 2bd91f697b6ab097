"""Whether others can dial this machine: the coordinator tries it, and what follows is decided here."""

from __future__ import annotations

import ipaddress
import random
import secrets
import socket
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from swarm import notes
from swarm.client import CoordinatorClient
from swarm.errors import UsageError
from swarm.proto import coordinator_pb2 as pb

_PORTS = range(20_000, 30_000)  # below those that systems take for outgoing connections
_TRIES = 20
_NONCE_BYTES = 16
_ACCEPT_SECONDS = 0.2


class Case(StrEnum):
    """Where this machine stands."""

    LOCAL = "local"
    OPEN = "open"
    FORWARDED = "forwarded"
    NAT = "nat"
    FIREWALL = "firewall"


@dataclass(frozen=True)
class Reach:
    """`port` is where the peer listens, 0 for any; `hosts` are the addresses that it names to others, none for those
    that libp2p finds.
    """

    case: Case
    why: str  # a sentence for the volunteer
    port: int = 0
    hosts: tuple[str, ...] = ()

    @property
    def relayed(self) -> bool:
        """Others reach this machine through the coordinator's relay only."""
        return self.case in (Case.NAT, Case.FIREWALL)

    @property
    def announced(self) -> list[str]:
        """The addresses as multiaddrs."""
        return [f"/ip4/{host}/tcp/{self.port}" for host in self.hosts]


UNASKED = Reach(Case.NAT, "the coordinator could not be asked whether others can dial this machine")
LOCAL = Reach(Case.LOCAL, "local: the invite names this machine's loopback address, so all peers are on this machine")


def decide(own: Collection[str], port: int, answer: pb.DialBackResponse) -> Reach:
    """What the coordinator's answer means for a machine with the addresses `own`."""
    seen = answer.observed_host
    hosts = tuple(sorted(own))
    if is_loopback(seen):
        return LOCAL
    match answer.reachable, seen in own:
        case True, True:
            return Reach(Case.OPEN, f"open: others can dial this machine at {seen}", port)
        case True, False:
            why = f"open: a router lets others in; they can dial this machine at {seen}, port {port}"
            return Reach(Case.FORWARDED, why, port, (seen, *hosts))
        case False, True:
            why = f"behind a firewall: nobody can dial {seen}, port {port} ({answer.why}); {_RELAY}"
            return Reach(Case.FIREWALL, why, port, hosts)
    why = f"behind a NAT: others see {seen} and cannot dial port {port} there ({answer.why}); {_RELAY}"
    return Reach(Case.NAT, why, port, hosts)


_RELAY = "they reach this machine through the coordinator's relay"


def look(client: CoordinatorClient, note: Path) -> Reach:
    """Ask the coordinator unless the answer is known; see `ask`. The port is that of last time if it is free."""
    if is_loopback(client.invite.host):
        return LOCAL
    port, answer = ask(client, _kept(note))
    notes.keep(note, str(port))
    return decide(own_addresses(), port, answer)


def ask(client: CoordinatorClient, wanted: Sequence[int] = ()) -> tuple[int, pb.DialBackResponse]:
    """Listen at a wanted port or another one, and let the coordinator dial it; behind a NAT this takes seconds.

    Raises UsageError when there is no free port, UnreachableError.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    with _listening(wanted) as listener, _answering(listener, nonce):
        port = int(listener.getsockname()[1])
        return port, client.dial_back(port, nonce)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def own_addresses() -> set[str]:
    """The IPv4 addresses of this machine, without loopback's."""
    found = [item for items in psutil.net_if_addrs().values() for item in items if item.family == socket.AF_INET]
    return {item.address for item in found if not is_loopback(item.address)}


def _kept(note: Path) -> list[int]:
    with suppress(OSError, ValueError):
        return [int(notes.kept(note))]
    return []


@contextmanager
def _listening(wanted: Sequence[int]) -> Iterator[socket.socket]:
    """A listener at a wanted port, or at any other that is free."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for port in [*wanted, *random.sample(_PORTS, _TRIES)]:
            with suppress(OSError):
                listener.bind(("", port))
                listener.listen()
                yield listener
                return
    raise UsageError("No free TCP port was found for the swarm's network.", "Stop programs that listen on many ports.")


@contextmanager
def _answering(listener: socket.socket, nonce: bytes) -> Iterator[None]:
    """Send the nonce to whoever connects, until the block ends."""
    ended = threading.Event()

    def answer() -> None:
        while not ended.is_set():
            with suppress(OSError):
                line, _ = listener.accept()
                with line:
                    line.sendall(nonce)

    listener.settimeout(_ACCEPT_SECONDS)
    thread = threading.Thread(target=answer, name="dial-back", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
