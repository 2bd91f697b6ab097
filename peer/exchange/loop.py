"""An event loop in a thread of its own, for network talk beside work that must not wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs from the start to the end of the process. `broken` is what ended a task that should never end."""

    def __init__(self) -> None:
        self.broken: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._loop.run_forever, name="swarm-network", daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, T], seconds: float | None) -> T:
        """Run in the loop and wait for the result from another thread."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(seconds)
        except FutureTimeoutError:
            future.cancel()
            raise

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start a task from within the loop that goes on for ever, and keep it alive."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.broken = error

    def call_soon(self, call: Any) -> None:
        """Raises RuntimeError when a task ended that should not: who waits for what it brings would wait for ever."""
        if self.broken:
            raise RuntimeError("a part of the network's talk ended") from self.broken
        self._loop.call_soon_threadsafe(call)

    def later(self, seconds: float, call: Any) -> None:
        self._loop.call_later(seconds, call)


async def together(*parts: Coroutine[Any, Any, object]) -> None:
    """Do all at once; the first that fails ends the others and is raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                tasks.create_task(part)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
