"""`swarm serve` at work: a port, and uvicorn behind it."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from swarm.errors import PortInUseError

_BACKLOG = 128
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


def serve(app: ASGIApp, listening: socket.socket, started: Callable[[], None]) -> None:
    """Until Ctrl-C or SIGTERM. What a proxy's headers say of a client is not believed: anybody can write them."""
    config = uvicorn.Config(
        app,
        http="h11",
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
