"""The addresses of `swarm serve`: OpenAI's, and a page to chat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from peer.serving.guard import Guard, answer_to, body_of, caller_of
from peer.serving.opening import Ready
from peer.serving.stream import Running, Stream, whole
from peer.serving.turns import GoneError, Turns
from peer.serving.wire import ChatRequest, Reply, TextRequest, parsed
from swarm.errors import NotFoundError, OverloadError, SwarmError
from swarm.ration import Ration

_WAITING, _OF_ONE = 8, 4
_STATIC = files("peer.serving") / "static"


class Api:
    """Handlers. `needs_key`: what the page must ask its reader for."""

    def __init__(self, ready: Ready, needs_key: bool) -> None:
        self._bundle = ready.bundle
        self._answering = ready.answering
        self._needs_key = needs_key
        self._turns = Turns(_WAITING, _OF_ONE)
        self._ration = Ration(ready.bundle.caps.requests_per_minute, 60.0, time.monotonic)
        self._worker = ThreadPoolExecutor(1, "answering")  # the only thread that the model works in

    def app(self, names: Iterable[str], key: str) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/", self.page),
            Route("/about", self.about),
            Route("/v1/models", self.models),
            Route("/v1/models/{model}", self.model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.text, methods=["POST"]),
            Mount("/static", StaticFiles(directory=str(_STATIC))),
        ]
        errors: dict[Any, Any] = {SwarmError: _said, Exception: _said, HTTPException: _missing, GoneError: _gone}
        return Guard(Starlette(routes=routes, exception_handlers=errors), names, key)

    # ── for people ─────────────────────────────────────────────────────────────────────────────

    async def page(self, _request: Request) -> Response:
        return FileResponse(str(_STATIC / "index.html"), headers={"Cache-Control": "no-cache"})

    async def about(self, _request: Request) -> Response:
        policy = self._answering.policy
        return JSONResponse(
            {
                "name": self._bundle.name,
                "title": self._bundle.title or self._bundle.name,
                "version": self._bundle.version,
                "license": self._bundle.license,
                "terms": policy.terms(),
                "terms_digest": policy.terms_digest(),
                "personalities": self._answering.personalities,
                "plugins": sorted(self._answering.plugins.known),
                "needs_key": self._needs_key,
            }
        )

    # ── for programs ───────────────────────────────────────────────────────────────────────────

    async def models(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self._names()]})

    async def model(self, request: Request) -> Response:
        self._personality(name := request.path_params["model"])
        return JSONResponse(self._model(name))

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, ChatRequest, "chat.completion")

    async def text(self, request: Request) -> Response:
        return await self._answer(request, TextRequest, "text_completion")

    async def _answer(self, request: Request, kind: type[ChatRequest | TextRequest], named: str) -> Response:
        """What can be refused is refused before the first byte, so that it has a status of its own."""
        caller = caller_of(request)
        if not self._ration.permits(caller):
            most = self._ration.tries
            raise OverloadError(f"This model answers {most} requests of one client in a minute.", "Wait a minute.")
        asked = parsed(kind, await body_of(request))
        ask = asked.ask(self._personality(asked.model), self._answering.plugins.known)
        events = await asyncio.to_thread(self._answering.answer, ask)
        running = Running(events, self._worker)
        reply = Reply(named, asked.model)
        turn = self._turns.turn(caller, request.is_disconnected)
        if asked.stream:
            return await Stream.begun(running, reply, asked.with_usage, turn)
        async with turn, running:
            return JSONResponse(await whole(running, reply, request.is_disconnected))

    def _names(self) -> list[str]:
        name = self._bundle.name
        return [name, *(f"{name}:{personality}" for personality in self._answering.personalities)]

    def _personality(self, model: str) -> str:
        """Raises NotFoundError."""
        if model not in self._names():
            raise NotFoundError(f"There is no model {model[:200]!r} here.", f"There are: {', '.join(self._names())}.")
        return model.partition(":")[2]

    def _model(self, name: str) -> dict[str, object]:
        created = int(datetime.fromisoformat(self._bundle.created).timestamp())
        return {"id": name, "object": "model", "created": created, "owned_by": self._bundle.lineage.run}


async def _said(_request: Request, error: Exception) -> Response:
    return answer_to(error)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _missing(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: "There is nothing at this address.", 405: "This address is asked in another way."}
    said = {"message": message.get(error.status_code, error.detail), "type": "invalid_request_error"}
    return JSONResponse({"error": {**said, "param": None, "code": None}}, error.status_code, error.headers)
