"""What every request is held to before anybody reads its body, and how errors look. An ASGI middleware."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from peer.serving.answering import TooLongError
from swarm import log
from swarm.errors import NotFoundError, OverloadError, RefusedError, SwarmError, UnreachableError, UsageError
from swarm.ration import home_of
from swarm.webbody import arrived
from swarm.webheaders import with_headers

logger = log.get(__name__)

LARGEST = 1 << 20  # bytes of a request's body
_SECONDS = 20.0  # for a request to arrive, and for a reader to take a part of its answer
_RETRY = 60  # seconds


class BusyError(UnreachableError):
    """As many answers wait as this server lets wait."""


class KeyNeededError(RefusedError):
    """The request does not have the server's API key."""


class Guard:
    """`names`: what this server may be called beside its addresses. `key`: what requests to /v1 must show, or empty."""

    def __init__(self, app: ASGIApp, names: Iterable[str], key: str) -> None:
        self._app = app
        self._names = frozenset(("localhost", *names))
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on with the headers for browsers."""
        headers = Headers(scope=scope)

        async def bounded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": with_headers(message.get("headers", []))}
            async with asyncio.timeout(_SECONDS):
                await send(message)

        refused = self._refusal(scope, headers)
        await (answer_to(refused)(scope, receive, bounded) if refused else self._app(scope, receive, bounded))

    def _refusal(self, scope: Scope, headers: Headers) -> SwarmError | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._known(host):
            return RefusedError("This server is not known by that name.", "Use its address, or start it with --name.")
        if origin is not None and origin.partition("://")[2] != host:
            return RefusedError("Pages of other sites may not use this server.")
        if scope["path"].startswith("/v1/") and not self._opens(headers.get("authorization", "")):
            return KeyNeededError("This server wants its API key.", "Send it as: Authorization: Bearer KEY.")
        if scope["method"] == "POST" and headers.get("content-type", "").partition(";")[0] != "application/json":
            return UsageError("A request is JSON.", "Say so: Content-Type: application/json.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > LARGEST:
            return _too_large()
        return None

    def _known(self, host: str) -> bool:
        """An address, or one of the names: a page of another site that had its own name point here comes with that."""
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        try:
            return bool(ipaddress.ip_address(name.removeprefix("[").removesuffix("]")))
        except ValueError:
            return name.lower() in self._names

    def _opens(self, said: str) -> bool:
        shown = said.removeprefix("Bearer ").strip()
        return not self._key or hmac.compare_digest(shown.encode(), self._key.encode())


async def body_of(request: Request) -> bytes:
    """Raises UsageError for one that is too large or does not arrive."""
    try:
        data = await arrived(request, LARGEST, _SECONDS)
    except TimeoutError:
        raise UsageError(f"The request did not arrive within {_SECONDS:g} seconds.") from None
    if data is None:
        raise _too_large()
    return data


def caller_of(request: Request) -> str:
    """The home that the connection came from, whatever the request says of itself."""
    try:
        return home_of(request.client.host if request.client else "")
    except ValueError:
        return ""


def _too_large() -> SwarmError:
    return UsageError(f"A request of more than {LARGEST} bytes is not taken.", "Send less.")


_STATUS: tuple[tuple[type[SwarmError], int, str, str | None], ...] = (
    (TooLongError, 400, "invalid_request_error", "context_length_exceeded"),
    (UsageError, 400, "invalid_request_error", None),
    (KeyNeededError, 401, "invalid_request_error", "invalid_api_key"),
    (RefusedError, 403, "invalid_request_error", None),
    (NotFoundError, 404, "invalid_request_error", "model_not_found"),
    (OverloadError, 429, "rate_limit_error", "rate_limit_exceeded"),
    (BusyError, 503, "server_error", "overloaded"),
    (SwarmError, 500, "server_error", None),
)


def answer_to(error: Exception) -> JSONResponse:
    """In OpenAI's form."""
    status, said = described(error)
    headers = {"Retry-After": str(_RETRY)} if status in (429, 503) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(said, status, headers)


def described(error: Exception) -> tuple[int, dict[str, dict[str, str | None]]]:
    """The status and the object. Of an unexpected error the detail stays in the log."""
    if not isinstance(error, SwarmError):
        logger.error("a request failed", exc_info=error)
        error = SwarmError("The server failed at this request.", "Its log says why.")
    found = next(row for row in _STATUS if isinstance(error, row[0]))
    return found[1], {"error": {"message": str(error), "type": found[2], "param": _field(error), "code": found[3]}}


def _field(error: SwarmError) -> str | None:
    name, sign, _ = error.what.partition(": ")
    return name if sign and isinstance(error, UsageError) and " " not in name else None
