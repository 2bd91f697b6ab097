"""This peer's line: counts what passes between it and other peers, and holds what it sends to the volunteer's cap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_BURST_SECONDS = 0.25  # what may leave at once: short enough to leave room for a call or a game beside it
_TELL_BYTES = 256 << 10


class Line:
    """A token bucket: `cap` says bytes per second, 0 for none, and is asked each time. `tell` hears of bytes that
    passed, a quarter of a MB at once. One event loop shares it.
    """

    def __init__(self, cap: Callable[[], float] = lambda: 0.0, tell: Callable[[int], None] = lambda _: None) -> None:
        self._cap = cap
        self._tell = tell
        self._untold = 0
        self._free = 0.0  # when the line is free again, on the clock of `delay`

    def delay(self, size: int, now: float) -> float:
        """Seconds to wait before `size` bytes leave; they are taken to leave then."""
        if not (cap := self._cap()):
            return 0.0
        self._free = max(self._free, now - _BURST_SECONDS) + size / cap
        return max(0.0, self._free - now)

    async def send(self, size: int) -> None:
        """Return when `size` bytes may leave."""
        if delay := self.delay(size, time.monotonic()):
            await asyncio.sleep(delay)
        self.passed(size)

    def passed(self, size: int) -> None:
        """So many bytes were sent or came."""
        self._untold += size
        if self._untold >= _TELL_BYTES:
            self._tell(self._untold)
            self._untold = 0
