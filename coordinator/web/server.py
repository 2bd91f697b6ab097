"""The page at work: a thread of the coordinator's process, with a port of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from coordinator.web.connection import Entrance, protocol
from swarm import log
from swarm.errors import PortInUseError

logger = log.get(__name__)

_BACKLOG = 128
_STOP_SECONDS = 3.0
_LARGEST_HEAD = 16 << 10  # bytes of a request without its body


@dataclass(frozen=True)
class PageSettings:
    """Where the page listens; `port` 0 takes a free one. `shows_invite`: everybody sees the run's first invite."""

    host: str
    port: int
    shows_invite: bool = False


class PageServer:
    """Starts with `start`, ends with `stop`."""

    def __init__(self, settings: PageSettings) -> None:
        self.port = settings.port
        self._settings = settings
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, app: ASGIApp) -> None:
        """Serve. Raises PortInUseError."""
        self._socket = self._bound()
        self.port = self._socket.getsockname()[1]
        logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # what matters of it our own log says
        self._server = uvicorn.Server(_config(app))
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all connections and the thread."""
        if self._server is None or self._thread is None or self._socket is None:
            return
        self._server.should_exit = self._server.force_exit = True
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._abort_all)
        self._thread.join(_STOP_SECONDS)
        self._socket.close()

    def _bound(self) -> socket.socket:
        host, port = self._settings.host, self._settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            return socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise PortInUseError(
                f"The page cannot use {host}, port {port}: {error.strerror or error}.",
                "Stop the program that listens there, or take another port with --page (0 takes a free one), or "
                "another address with --page-host.",
            ) from error

    def _run(self) -> None:
        """A page that fails ends alone; the run goes on."""
        try:
            asyncio.run(self._serve())
        except Exception:
            logger.exception("the page ended; the run goes on without it")

    async def _serve(self) -> None:
        assert self._server
        assert self._socket
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._socket])

    def _abort_all(self) -> None:
        assert self._server
        for connection in list(self._server.server_state.connections):
            if transport := getattr(connection, "transport", None):
                transport.abort()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol(Entrance()),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,  # of a proxy on this machine
        forwarded_allow_ips="127.0.0.1,::1",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=1,
        headers=[("Connection", "close")],
        h11_max_incomplete_event_size=_LARGEST_HEAD,
    )
