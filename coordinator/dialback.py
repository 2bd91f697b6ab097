"""Whether a caller can be dialled: the coordinator tries it, at the address that the call came from and at no other."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote

from swarm.errors import UsageError
from swarm.proto import coordinator_pb2 as pb
from swarm.ration import Ration, caller_of

NONCE_BYTES = 16
_SECONDS = 2.0
_LOWEST_PORT = 1024
_TRIES = 30  # of one address, within
_WINDOW_SECONDS = 60.0
_CALLERS = 1024  # whose addresses are read once: every call asks for them several times


class DialBack:
    """Threads of the gRPC server call in at once. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._ration = Ration(_TRIES, _WINDOW_SECONDS, clock)

    def answer(self, caller: str, request: pb.DialBackRequest) -> pb.DialBackResponse:
        """`caller` is gRPC's word for who called. Raises UsageError for a request that no peer makes."""
        if not _LOWEST_PORT <= request.port < 1 << 16 or len(request.nonce) != NONCE_BYTES:
            raise UsageError("This port or nonce is none that a peer sends.", "Use the same version of garage-swarm.")
        now, host = time.time(), host_of(caller)
        why = _dial(host, request.port, request.nonce) if self._ration.permits(network_of(caller)) else _TOO_OFTEN
        return pb.DialBackResponse(reachable=not why, observed_host=host, why=why, server_time=now)


_TOO_OFTEN = f"not tried: this address asked {_TRIES} times within {_WINDOW_SECONDS:.0f} s"


@lru_cache(_CALLERS)
def host_of(caller: str) -> str:
    """The address in gRPC's name of a caller: ipv4:192.0.2.1:5000, ipv6:%5B::1%5D:5000. Empty for another kind."""
    kind, _, rest = unquote(caller).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    address = ipaddress.ip_address(rest.rpartition(":")[0].strip("[]").partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


@lru_cache(_CALLERS)
def network_of(caller: str) -> str:
    """The home in gRPC's name of a caller; empty for another kind of name."""
    return caller_of(host_of(caller))


def _dial(host: str, port: int, nonce: bytes) -> str:
    """Why the caller cannot be dialled; empty when it can."""
    try:
        with socket.create_connection((host, port), _SECONDS) as line:
            line.settimeout(_SECONDS)
            heard = line.recv(NONCE_BYTES, socket.MSG_WAITALL)
    except TimeoutError:
        return f"no answer within {_SECONDS:g} s"
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    return "" if heard == nonce else "somebody else answered"
