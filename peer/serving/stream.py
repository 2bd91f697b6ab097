"""An answer on its way to a client, whole or in pieces. Who goes away ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from peer.serving.answering import Call, End, Event
from peer.serving.guard import described
from peer.serving.turns import GoneError
from peer.serving.wire import Reply


class Running:
    """Events of an answer, each made in the executor's thread. Ended when it is left as a context."""

    def __init__(self, events: Generator[Event, None, None], worker: Executor) -> None:
        self._events = events
        self._worker = worker

    async def __aenter__(self) -> Running:
        return self

    async def __aexit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._worker, self._events.close)  # behind the step that may be under way

    async def __aiter__(self) -> AsyncIterator[Event]:
        loop = asyncio.get_running_loop()
        while (event := await loop.run_in_executor(self._worker, next, self._events, None)) is not None:
            yield event


async def whole(running: Running, reply: Reply, gone: Callable[[], Awaitable[bool]]) -> dict[str, Any]:
    """All of it at once. What a filter refuses is replaced by the refusal, the beginning too. Raises GoneError."""
    texts, calls = list[str](), list[str]()
    async for event in running:
        if await gone():
            raise GoneError
        if isinstance(event, End):
            text = texts[-1] if event.reason == "content_filter" else "".join(texts)
            return reply.whole(text, event, calls)
        if isinstance(event, Call):
            calls.append(event.name)
        else:
            texts.append(event)
    raise AssertionError("an answer has an end")


class Stream(StreamingResponse):
    """Server-sent events. Holds its turn until all is sent, or the client went away."""

    def __init__(self, running: Running, reply: Reply, with_usage: bool, held: AsyncExitStack) -> None:
        super().__init__(_sent(running, reply, with_usage), media_type="text/event-stream")
        self._held = held

    @classmethod
    async def begun(
        cls, running: Running, reply: Reply, with_usage: bool, turn: AbstractAsyncContextManager[None]
    ) -> Stream:
        """Once it is its turn; until then it can be refused with a status of its own."""
        async with AsyncExitStack() as held:
            await held.enter_async_context(turn)
            await held.enter_async_context(running)
            return cls(running, reply, with_usage, held.pop_all())
        raise AssertionError("an exit stack swallows nothing")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with self._held:
            await super().__call__(scope, receive, send)


async def _sent(running: Running, reply: Reply, with_usage: bool) -> AsyncIterator[bytes]:
    try:
        for part in reply.begin():
            yield _line(part)
        async for event in running:
            for part in _parts(event, reply, with_usage):
                yield _line(part)
    except Exception as error:
        yield _line(described(error)[1])
    yield b"data: [DONE]\n\n"


def _parts(event: Event, reply: Reply, with_usage: bool) -> list[dict[str, Any]]:
    if isinstance(event, End):
        return reply.end(event, with_usage)
    return [reply.piece(event)] if isinstance(event, str) and event else []


def _line(part: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(part, ensure_ascii=False).encode() + b"\n\n"
