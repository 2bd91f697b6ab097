"""What every request and answer of the page is held to, and how errors look. An ASGI middleware."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from swarm import log
from swarm.errors import SwarmError, UsageError
from swarm.webbody import arrived
from swarm.webheaders import with_headers

logger = log.get(__name__)

_SEND_SECONDS = 10.0  # for a reader to take a part of its answer
_RECEIVE_SECONDS = 10.0
LARGEST = 4096  # bytes of a request's body

_STATUS = {
    "USAGE": 400,
    "LOGIN": 401,
    "INVITE": 401,
    "INVITE_EXPIRED": 401,
    "INVITE_REVOKED": 401,
    "INVITE_UNKNOWN": 401,
    "REFUSED": 403,
    "BANNED": 403,
    "NOT_FOUND": 404,
    "HANDED_OVER": 409,
    "OVERLOAD": 429,
}


class Limits:
    """Adds the security headers, and ends readers that do not read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def bounded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": with_headers(message.get("headers", []))}
            try:
                async with asyncio.timeout(_SEND_SECONDS):
                    await send(message)
            except TimeoutError:
                scope["state"]["abort"]()  # what is sent after this goes nowhere

        await self._app(scope, receive, bounded)


async def body_of(request: Request) -> bytes:
    """Raises SwarmError for one that is too large or does not arrive."""
    try:
        data = await arrived(request, LARGEST, _RECEIVE_SECONDS)
    except TimeoutError:
        raise _refused("The request did not arrive within ten seconds.") from None
    if data is None:
        raise _refused(f"A request of more than {LARGEST} bytes is not taken.")
    return data


def _refused(what: str) -> SwarmError:
    return UsageError(what, "Reload the page.")


def answer_to(_request: Request, error: Exception) -> JSONResponse:
    """An error in the project's words; of an unexpected one the detail stays in the log."""
    if not isinstance(error, SwarmError):
        logger.exception("a request of the page failed", exc_info=error)
        error = SwarmError("The page failed at this request.", "The coordinator's log says why; tell the maintainer.")
    said = {"code": error.code, "what": error.what, "remedy": error.remedy}
    return JSONResponse(said, _STATUS.get(error.code, 500))
