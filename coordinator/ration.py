"""How often one address may ask for something that costs the coordinator more than an answer."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable


class Ration:
    """`tries` of each address within `window` seconds. Threads may share it; `clock` gives seconds."""

    def __init__(self, tries: int, window: float, clock: Callable[[], float]) -> None:
        self.tries = tries
        self.window = window
        self._clock = clock
        self._asked: dict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def permits(self, host: str) -> bool:
        """Whether `host` may ask now; if so, that is counted."""
        with self._lock:
            now = self._clock()
            self._forget(now - self.window)
            if len(self._asked[host]) >= self.tries:
                return False
            self._asked[host].append(now)
            return True

    def _forget(self, before: float) -> None:
        """What was asked so long ago; who asked nothing since takes no memory."""
        for host, times in list(self._asked.items()):
            while times and times[0] <= before:
                times.popleft()
            if not times:
                del self._asked[host]
