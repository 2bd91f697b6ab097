"""One reader's connection. What it may take of the coordinator is decided before its request is read.

A connection serves one request and is closed. One that is too many is told so in a sentence; one that sends no request,
or does not take its answer, is ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from swarm.ration import Ration, caller_of

MOST = 512  # connections at the same time, event streams among them
_A_SECOND = 200  # new ones, of everybody
_OF_ONE = 600  # new ones in a minute, of one home; of this machine's own, where a proxy may stand, as many as come
_SECONDS = 10.0  # for a request to arrive, and for its answer to be taken once it is complete
_SAYS = "The page has as many readers as it serves at a time. Training is not concerned. Please try again in a minute."
_BUSY = (
    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 60\r\nCache-Control: no-store\r\n"
    f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(_SAYS)}\r\n\r\n{_SAYS}"
).encode()
_LOCAL = ("127.0.0.1", "::1")


class Entrance:
    """How many come; shared by all connections of one page."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._of_all = Ration(_A_SECOND, 1.0, clock)
        self._of_one = Ration(_OF_ONE, 60.0, clock)

    def admits(self, address: str, present: int) -> bool:
        """Whether one more may come while so many are there."""
        if present > MOST or not self._of_all.permits(""):
            return False
        return address in _LOCAL or self._of_one.permits(caller_of(address))


class Connection(H11Protocol):
    """uvicorn's, with a door; `abort` in the request's state ends it without waiting for its reader."""

    entrance: Entrance  # of the page; see `protocol`

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        self._deadline = self.loop.call_later(_SECONDS, self._look, False)
        if not self.entrance.admits(self.client[0] if self.client else "", len(self.connections)):
            transport.write(_BUSY)
            transport.close()

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _look(self, answered: bool) -> None:
        """`answered`: all of the answer was there for the reader when this looked last."""
        done = self.cycle is not None and self.cycle.response_complete
        if self.cycle is None or (done and answered):
            self.transport.abort()
        else:
            self._deadline = self.loop.call_later(_SECONDS, self._look, done)


def protocol(entrance: Entrance) -> type[Connection]:
    """The kind of connection for one page."""
    return type("Connection", (Connection,), {"entrance": entrance})
