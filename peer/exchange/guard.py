"""Processes that hivemind starts must end with us, by whatever way we end.

hivemind forks a DHT process, which starts p2pd. After `kill -9` of their parent both would live on as ghosts that
still answer the swarm, and hivemind's own shutdown prints tracebacks. So: forked children ask the kernel to die with
their parent (Linux; uvloop runs the same hook before it starts p2pd), and a wanted end is a kill as well: quick and
silent.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing.util
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import psutil

from peer import processes
from swarm import lifetime

# p2pd's flags for a node that relays for others; hivemind has no parameters for them. libp2p's own limits, 128 KiB and
# two minutes for a connection, are meant for arranging a direct one.
_RELAY = {
    "forceReachabilityPublic": 1,
    "relayDataLimit": 1 << 40,  # bytes
    "relayTimeLimit": "720h",
    "relayBufferSize": 64 << 10,  # bytes, two for each connection
    "relayMaxReservations": 1024,
    "relayMaxCircuits": 256,  # of one peer
}

_DEEPEST = 8  # tuples and dictionaries within each other, in what others packed
LONGEST_ID = 64  # bytes of a peer id; a hash of a public key has 34, the longest key that stands for itself 44


@cache
def prepare() -> None:
    """Make hivemind safe to import and to start in this process; call it before the first import of hivemind.

    Its sockets go to the temporary folder of this process (whoever set TMPDIR removes it), shared memory leaves no
    files, its log lines go to our handlers, its children die with us, what it unpacks cannot overflow the stack, an
    answer that nobody waits for any more does not make it deaf, no stranger's peer id keeps it busy, and no stream
    loses its last messages.
    """
    os.environ.setdefault("HIVEMIND_LOGLEVEL", "ERROR")
    os.environ.setdefault("HIVEMIND_MEMORY_SHARING_STRATEGY", "file_descriptor")
    os.register_at_fork(after_in_child=_die_with_parent)
    from hivemind.p2p import P2P, PeerID
    from hivemind.p2p.p2p_daemon_bindings.control import ControlClient
    from hivemind.utils.serializer import MSGPackSerializer

    from peer.exchange import streams

    ControlClient.__init__ = _with_calls(ControlClient.__init__)
    PeerID.__init__ = _short(PeerID.__init__)
    MSGPackSerializer._decode_ext_types = _bounded(MSGPackSerializer._decode_ext_types)
    P2P._UNIX_SOCKET_PREFIX = f"/unix{tempfile.gettempdir()}/"
    P2P._iterate_protobuf_stream_handler = streams.ask
    P2P._add_protobuf_stream_handler = streams.add
    P2P.FORCE_REACHABILITY_MAPPING = {**P2P.FORCE_REACHABILITY_MAPPING, "relay": _RELAY}
    logging.getLogger("hivemind").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message="torch.quantize_per_tensor")  # of the 8-bit codec, for users of torch


class _Answer(asyncio.Future[Any]):
    """What is awaited of p2pd. A second answer, and one that comes when nobody waits any more, are nothing."""

    def set_result(self, result: Any) -> None:
        if not self.done():
            super().set_result(result)

    def set_exception(self, exception: type | BaseException) -> None:
        if not self.done():
            super().set_exception(exception)


class _Calls(dict[Any, "asyncio.Future[Any]"]):
    """hivemind's calls that wait for p2pd. What reads p2pd's answers ends for ever when one cannot be set: a process
    that was frozen, or whose machine slept, finds calls that timed out and their answers in one and the same moment,
    and from then on it heard nobody and nobody heard it.
    """

    def __setitem__(self, call: Any, _future: asyncio.Future[Any]) -> None:
        super().__setitem__(call, _Answer())


def _with_calls(init: Callable[..., None]) -> Callable[..., None]:
    def made(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self._pending_calls = _Calls()

    return made


def _bounded(decode: Callable[[int, bytes], Any]) -> Callable[[int, bytes], Any]:
    """hivemind unpacks tuples within tuples by calling itself: some 250 of them, a kilobyte, overflow the C stack and
    end the process. What is stored in the DHT has one or two.
    """
    nested = threading.local()

    def bounded(type_code: int, data: bytes) -> Any:
        nested.depth = getattr(nested, "depth", 0) + 1
        try:
            if nested.depth > _DEEPEST:
                raise ValueError(f"more than {_DEEPEST} values within each other")
            return decode(type_code, data)
        finally:
            nested.depth -= 1

    return bounded


def _short(init: Callable[[Any, bytes], None]) -> Callable[[Any, bytes], None]:
    """hivemind writes each peer id that it hears of in base 58, for which the time grows with the square of its length:
    one of 300 kB in an answer of the DHT took three seconds. Raises ValueError.
    """

    def made(self: Any, peer_id_bytes: bytes) -> None:
        if len(peer_id_bytes) > LONGEST_ID:
            raise ValueError(f"a peer id of {len(peer_id_bytes)} bytes; {LONGEST_ID} are the most")
        init(self, peer_id_bytes)

    return made


def _die_with_parent() -> None:
    lifetime.die_with_parent(signal.SIGKILL)


def leave() -> None:
    """Kill every descendant because this process ends. One of them may just ask for a pipe that hivemind shares with
    it; multiprocessing's thread for that prints a traceback when the asker dies, unless it knows of the end.
    """
    setattr(multiprocessing.util, "_exiting", True)  # noqa: B010 - what `is_exiting` says; there is no other way
    kill_children()


def kill_children() -> None:
    """Kill every descendant of this process at once."""
    processes.kill(psutil.Process().children(recursive=True))
