"""One answer at a time: the others wait in a row that has an end, and who goes away waits no longer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from peer.serving.guard import BusyError
from swarm.errors import OverloadError

_LOOK = 0.25  # seconds


class GoneError(Exception):
    """The client went away."""


class Turns:
    """`waiting`: how many may wait, beside the one whose turn it is; `of_one`: how many of one caller, that one too."""

    def __init__(self, waiting: int, of_one: int) -> None:
        self._most = waiting + 1
        self._of_one = of_one
        self._present = Counter[str]()
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, caller: str, gone: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
        """Its turn. Raises BusyError, OverloadError, GoneError."""
        self._require_place(caller)
        self._present[caller] += 1
        try:
            await self._wait(gone)
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._present[caller] -= 1
            self._present += Counter()  # forget those that are not there

    def _require_place(self, caller: str) -> None:
        if self._present[caller] >= self._of_one:
            raise OverloadError(f"{self._of_one} of your requests wait already.", "Wait for their answers.")
        if self._present.total() >= self._most:
            raise BusyError("As many answers wait as this server lets wait.", "Try again in a minute.")

    async def _wait(self, gone: Callable[[], Awaitable[bool]]) -> None:
        waiting = asyncio.ensure_future(self._turn.acquire())
        try:
            while not (await asyncio.wait({waiting}, timeout=_LOOK))[0]:
                if await gone():
                    raise GoneError
        except BaseException:
            if not waiting.cancel():  # it had its turn already
                self._turn.release()
            raise
