"""An event loop whose time passes only while there is nothing to do: an hour of a swarm's life takes a second."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    """Without threads and without I/O: what runs in it depends on nothing but the program."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Skip(self))
        self.set_exception_handler(lambda *_: None)  # of calls whose caller was killed

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """At once, in this thread."""
        future: asyncio.Future[Any] = self.create_future()
        future.set_result(func(*args))
        return future


class _Skip(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing would ever happen again"
        self._loop.now += max(0.0, timeout)
        return []
