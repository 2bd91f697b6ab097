"""News for all readers: made and written down once a second, whoever reads; a reader that falls behind misses some.

The page notices a gap by the rounds that it knows and asks for everything again, so nothing is kept for slow readers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from coordinator.web.board import packed
from swarm import log
from swarm.errors import SwarmError

logger = log.get(__name__)

MOST = 256  # readers at the same time
_EVERY_SECONDS = 1.0
_ALIVE = 15  # looks after which there is news also when nothing changed


class Events:
    """`news` gives what is to be told; it is called in the event loop, so it must be quick."""

    def __init__(self, news: Callable[[], dict[str, Any]], most: int = MOST) -> None:
        self.readers = 0
        self._news = news
        self._most = most
        self._message = b""
        self._told: dict[str, Any] = {}
        self._quiet = 0
        self._fresh = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        return self.readers >= self._most

    async def stream(self) -> AsyncIterator[bytes]:
        """For one reader, until it goes."""
        self.readers += 1
        try:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._tell())
            yield b"retry: 3000\n\n"
            while True:
                await self._fresh.wait()
                yield self._message
        finally:
            self.readers -= 1

    async def _tell(self) -> None:
        """While there are readers."""
        while self.readers:
            with suppress(SwarmError):
                self._look()
            await asyncio.sleep(_EVERY_SECONDS)

    def _look(self) -> None:
        found = self._news()
        self._quiet += 1
        if _lasting(found) == _lasting(self._told) and self._quiet < _ALIVE:
            return
        self._told, self._quiet = found, 0
        self._message = b"data: " + packed(found) + b"\n\n"
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()


def _lasting(news: dict[str, Any]) -> dict[str, Any]:
    """But for the time, which always changes."""
    return {key: value for key, value in news.items() if key != "at"}
