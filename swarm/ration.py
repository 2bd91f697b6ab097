"""How much of a server one caller may have: how often it may ask, and how much of it at the same time."""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def home_of(host: str) -> str:
    """Who is one caller: the address; of IPv6 the network of 2^64 addresses that one line has. Raises ValueError."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


def caller_of(host: str) -> str:
    """As `home_of`; what is no address, as a proxy may say, is a caller of its own."""
    try:
        return home_of(host)
    except ValueError:
        return host


class Ration:
    """`tries` of each caller within `window` seconds. Threads may share it; `clock` gives seconds."""

    def __init__(self, tries: int, window: float, clock: Callable[[], float]) -> None:
        self.tries = tries
        self.window = window
        self._clock = clock
        self._asked: OrderedDict[str, deque[float]] = OrderedDict()  # who asked last is the last
        self._lock = threading.Lock()

    def permits(self, caller: str) -> bool:
        """Whether `caller` may ask now; if so, that is counted."""
        with self._lock:
            now = self._clock()
            self._forget(now - self.window)
            times = self._asked.setdefault(caller, deque())
            while times and times[0] <= now - self.window:
                times.popleft()
            if len(times) >= self.tries:
                return False
            times.append(now)
            self._asked.move_to_end(caller)
            return True

    def _forget(self, before: float) -> None:
        """Who asked nothing since takes no memory."""
        while self._asked and next(iter(self._asked.values()))[-1] <= before:
            self._asked.popitem(last=False)


class Places:
    """`number` of each caller at the same time. Threads may share it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._taken = Counter[str]()
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, caller: str) -> Iterator[bool]:
        """Whether there was a place, which is free again after the block."""
        with self._lock:
            there = self._taken[caller] < self._number
            self._taken[caller] += there
        try:
            yield there
        finally:
            with self._lock:
                self._taken[caller] -= there
                if not self._taken[caller]:
                    del self._taken[caller]
