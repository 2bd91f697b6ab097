"""The page's addresses. Reading is for everybody; a volunteer's own part and a maintainer's show who asks."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from coordinator.web.board import Board
from coordinator.web.calls import Maintaining
from coordinator.web.events import Events
from coordinator.web.files import Files, packed, qr_picture
from coordinator.web.limits import Limits, answer_to, body_of
from coordinator.web.sessions import LIFE, Session, Sessions, insecure
from swarm import pageword
from swarm.errors import InviteError, NotFoundError, OverloadError, RefusedError, SwarmError, UsageError
from swarm.invite import Invite, is_token
from swarm.ration import Ration

_COOKIE = "swarm-maintainer"
_ACCOUNTS = 30  # looks at one volunteer's own page in a minute
_JSON = "application/json"


class Page:
    """Handlers. `invite` is the run's first: of it only logged-in maintainers are told where the run is and how to
    know it, so that they can hand on others.
    """

    def __init__(self, invite: Invite, board: Board, maintaining: Maintaining) -> None:
        self._invite = invite
        self._board = board
        self._maintaining = maintaining
        self._files = Files()
        self._events = Events(board.news)
        self._sessions = Sessions()
        self._accounts = Ration(_ACCOUNTS, 60.0, time.monotonic)

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/", self.file),
            Route("/static/{name}", self.file),
            Route("/api/run", self.everything),
            Route("/api/events", self.events),
            Route("/api/me", self.me),
            Route("/invite.svg", self.invite),
            Route("/api/login", self.login, methods=["POST"]),
            Route("/api/logout", self.logout, methods=["POST"]),
            Route("/api/session", self.session),
            Route("/api/maintain/{name}", self.maintain, methods=["POST"]),
        ]
        errors: dict[Any, Any] = {SwarmError: answer_to, Exception: answer_to, 404: _missing}
        return Limits(Starlette(routes=routes, exception_handlers=errors))

    # ── for everybody ──────────────────────────────────────────────────────────────────────────

    async def file(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        found = self._files.answer(name, request)
        return found or answer_to(request, NotFoundError("There is no such file.", "Reload the page."))

    async def everything(self, request: Request) -> Response:
        return packed(await asyncio.to_thread(self._board.everything), _JSON, request)

    async def events(self, _request: Request) -> Response:
        if self._events.full:
            said = "The page has as many live readers as it serves at a time; it goes on without live news."
            return JSONResponse({"code": "OVERLOAD", "what": said, "remedy": ""}, 503)
        return StreamingResponse(self._events.stream(), media_type="text/event-stream")

    async def invite(self, _request: Request) -> Response:
        if not self._board.invite:
            raise NotFoundError("This run's invite is not public.", "Ask the maintainer for one.")
        return Response(qr_picture(self._board.invite), media_type="image/svg+xml")

    # ── for a volunteer ────────────────────────────────────────────────────────────────────────

    async def me(self, request: Request) -> Response:
        said = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = pageword.opened(said, self._invite.run, self._invite.fingerprint, time.time())
        if not self._accounts.permits(key.hex()):
            raise OverloadError("This page was asked for too often.", "Wait a minute.")
        return JSONResponse(await asyncio.to_thread(self._board.of, key))

    # ── for maintainers ────────────────────────────────────────────────────────────────────────

    async def login(self, request: Request) -> Response:
        if why := _insecure(request):
            raise RefusedError(why)
        address = _address(request)
        self._sessions.require_patience(address)
        token = _token((await _values(request)).get("invite"), self._invite.run)
        await asyncio.to_thread(self._maintaining.call, "ListInvites", {}, token, address)
        secret, made = self._sessions.begin(token)
        answer = JSONResponse(self._of(made))
        secure = request.url.scheme == "https"
        answer.set_cookie(_COOKIE, secret, max_age=int(LIFE), httponly=True, samesite="strict", secure=secure)
        return answer

    async def session(self, request: Request) -> Response:
        """Who comes back after a reload; with an empty `csrf` nobody is logged in."""
        found = self._sessions.of(request.cookies.get(_COOKIE, ""))
        return JSONResponse(self._of(found) if found else {"csrf": ""})

    def _of(self, session: Session) -> dict[str, str]:
        """`begins`: an invite but for its token."""
        return {"csrf": session.csrf, "begins": str(replace(self._invite, token=""))}

    async def logout(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(_COOKIE, ""))
        answer = JSONResponse({})
        answer.delete_cookie(_COOKIE)
        return answer

    async def maintain(self, request: Request) -> Response:
        secret, csrf = request.cookies.get(_COOKIE, ""), request.headers.get("x-csrf-token", "")
        session = self._sessions.acting(secret, csrf)
        name, values = request.path_params["name"], await _values(request)
        return JSONResponse(
            await asyncio.to_thread(self._maintaining.call, name, values, session.token, _address(request))
        )


def decoded(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises UsageError for anything else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError("The request is not a JSON object.", "Reload the page.")
    return found


async def _values(request: Request) -> dict[str, Any]:
    return decoded(await body_of(request))


def _token(said: object, run: str) -> str:
    """Of an invite, or the token itself. Raises InviteError."""
    text = said.strip() if isinstance(said, str) else ""
    if is_token(text):
        return text
    invite = Invite.parse(text)
    if invite.run != run:
        raise InviteError(f"This invite is for the run {invite.run}, and this page shows {run}.", "Take the right one.")
    return invite.token


def _insecure(request: Request) -> str:
    client = request.client.host if request.client else ""
    return insecure(request.url.scheme, client, request.url.hostname or "")


def _address(request: Request) -> str:
    """The reader's; a proxy may have said something else in its place."""
    try:
        return str(ipaddress.ip_address(request.client.host if request.client else ""))
    except ValueError:
        return "0.0.0.0"


async def _missing(request: Request, _error: Exception) -> Response:
    return answer_to(request, NotFoundError("There is nothing at this address.", "The page itself is at /."))
