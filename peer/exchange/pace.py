"""How fast this peer may send what it gives others: the volunteer's cap."""

from __future__ import annotations

import asyncio
import time

_BURST_SECONDS = 0.25  # what may leave at once: short enough to leave room for a call or a game beside it


class Pace:
    """A token bucket: `bytes_per_second`, 0 for no cap. One event loop shares it."""

    def __init__(self, bytes_per_second: float = 0.0) -> None:
        self._rate = bytes_per_second
        self._free = 0.0  # when the line is free again, on the clock of `delay`

    def delay(self, size: int, now: float) -> float:
        """Seconds to wait before `size` bytes leave; they are taken to leave then."""
        if not self._rate:
            return 0.0
        self._free = max(self._free, now - _BURST_SECONDS) + size / self._rate
        return max(0.0, self._free - now)

    async def wait(self, size: int) -> None:
        """Return when `size` bytes may leave."""
        if delay := self.delay(size, time.monotonic()):
            await asyncio.sleep(delay)
