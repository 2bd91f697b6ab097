"""Leased samples for the training loop, fetched ahead so that training does not wait for the coordinator."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from peer.data import Samples
from peer.leases import Leased, LeasedRange
from swarm import log
from swarm.errors import SwarmError
from swarm.ranges import Range

logger = log.get(__name__)

_ASK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Batch:
    """Samples and where they come from."""

    source: LeasedRange
    samples: Samples


class Shelf(Protocol):
    """Where samples come from; may download a shard first."""

    def fetch(self, positions: Range) -> None:
        """Bring what `positions` need to this machine, so that `load` needs nobody. Raises UnreachableError, …"""

    def load(self, positions: Range) -> Samples:
        """The samples at `positions`, on the CPU."""


class Feed:
    """Keeps at least `wish()` samples leased; `take` never waits, `why` says what it would wait for."""

    def __init__(self, ask: Callable[[int], Leased], shelf: Shelf, wish: Callable[[], int]) -> None:
        self.why = "asking for a first lease"
        self._ask = ask
        self._shelf = shelf
        self._wish = wish
        self._leases: deque[LeasedRange] = deque()
        self._coming: LeasedRange | None = None  # leased, its samples are not here yet
        self._failed: Exception | None = None  # what ended the thread
        self._lock = threading.Lock()
        self._low = threading.Event()
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to ask for leases in a thread of its own."""
        self._low.set()
        threading.Thread(target=self._keep_leased, name="feed", daemon=True).start()

    def take(self, count: int) -> Batch | None:
        """The next batch of at most `count` samples, or None when nothing is leased.

        Raises RuntimeError once nothing is asked for any more, because that failed.
        """
        if self._failed:
            raise RuntimeError("what asks for leases ended") from self._failed
        source = self._next(count)
        if self.left() < self._wish():
            self._low.set()
        return Batch(source, self._shelf.load(source.range)) if source else None

    def left(self) -> int:
        """Leased samples that were not taken yet."""
        with self._lock:
            return sum(len(lease.range) for lease in self._leases)

    def forget(self) -> None:
        """Drop all leases: the coordinator took them back."""
        with self._lock:
            self._leases.clear()
            self._coming = None
        self._low.set()

    def close(self) -> None:
        """Ask for nothing more."""
        self._ended.set()
        self._low.set()

    def _next(self, count: int) -> LeasedRange | None:
        with self._lock:
            if not self._leases:
                return None
            lease = self._leases[0]
            start, stop = lease.range
            middle = min(start + count, stop)
            if middle == stop:
                self._leases.popleft()
            else:
                self._leases[0] = replace(lease, range=Range(middle, stop))
            return replace(lease, range=Range(start, middle))

    def _keep_leased(self) -> None:
        try:
            self._ask_on()
        except Exception as error:  # training would wait for ever: it hears of it instead
            self._failed = error

    def _ask_on(self) -> None:
        while not self._ended.is_set():
            self._low.wait()
            self._low.clear()
            while not self._ended.is_set() and self.left() < self._wish():
                if not self._lease_more():
                    self._ended.wait(_ASK_AGAIN_SECONDS)

    def _lease_more(self) -> bool:
        """Lease samples and fetch them: training must not wait for the coordinator, nor end when it is away."""
        try:
            lease = self._coming or self._asked()
            if lease is None:
                return False
            self._coming = lease
            self._shelf.fetch(lease.range)
        except SwarmError as error:
            self.why = f"nothing to train on: {error.what}"
            return False
        with self._lock:
            if self._coming:  # else it was taken back meanwhile
                self._leases.append(lease)
            self._coming = None
        return True

    def _asked(self) -> LeasedRange | None:
        answer = self._ask(self._wish())
        self.why = answer.why
        return answer.lease
