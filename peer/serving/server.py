"""`swarm serve` at work: a port, and uvicorn behind it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from swarm.errors import PortInUseError

_BACKLOG = 128
_HEAD_SECONDS = 10.0  # for the head of a request to arrive, at most twice that
_CONNECTIONS = 64  # at the same time; more are told 503
_LARGEST_HEAD = 16 << 10  # bytes of a request without its body


def bound(host: str, port: int) -> socket.socket:
    """The port; 0 takes a free one. Raises PortInUseError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise PortInUseError(
            f"The server cannot use {host}, port {port}: {error.strerror or error}.",
            "Stop the program that listens there, or take another port with --port (0 takes a free one).",
        ) from error


class Patient(H11Protocol):
    """uvicorn's, which waits only so long for the head of a request: else a few slow callers would hold all places."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._due = self.loop.call_later(_HEAD_SECONDS, self._look, None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._due.cancel()
        super().connection_lost(exc)

    def _look(self, before: object) -> None:
        """`before`: the request that was the last one when this looked before."""
        waits = self.conn.their_state is h11.IDLE
        if waits and self.cycle is before:
            self.transport.abort()
        else:
            self._due = self.loop.call_later(_HEAD_SECONDS, self._look, self.cycle)


def serve(app: ASGIApp, listening: socket.socket, started: Callable[[], None]) -> None:
    """Until Ctrl-C or SIGTERM. What a proxy's headers say of a client is not believed: anybody can write them."""
    config = uvicorn.Config(
        app,
        http=Patient,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # what matters of it our own log says
    started()
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when all is closed
        uvicorn.Server(config).run(sockets=[listening])
