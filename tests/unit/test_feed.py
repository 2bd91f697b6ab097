"""The feed hands out leased positions once, in order, and never waits."""

from __future__ import annotations

import threading
import time

import torch
from hypothesis import given
from hypothesis import strategies as st

from peer.data import Samples
from peer.feed import Feed
from peer.leases import Leased, LeasedRange
from swarm.errors import UnreachableError
from swarm.ranges import Range
from tests.victims import until


class Positions:
    """Samples whose only token is their position; `away` says that they cannot be fetched now."""

    def __init__(self) -> None:
        self.away = threading.Event()
        self.here: set[int] = set()
        self.fault: Exception | None = None

    def fetch(self, positions: Range) -> None:
        if self.fault:
            raise self.fault
        if self.away.is_set():
            raise UnreachableError("The coordinator does not answer.")
        self.here.update(range(*positions))

    def load(self, positions: Range) -> Samples:
        assert self.here.issuperset(range(*positions))
        return Samples(torch.arange(*positions).reshape(-1, 1))


class Coordinator:
    """Gives leases of `size` positions until `limit`."""

    def __init__(self, size: int, limit: int) -> None:
        self.size, self.limit, self.next, self.calls = size, limit, 0, 0
        self.down = threading.Event()

    def lease(self, wish: int) -> Leased:
        self.calls += 1
        if self.down.is_set():
            raise UnreachableError("The coordinator does not answer.")
        if self.next >= self.limit:
            return Leased(None, "every position of this epoch is leased")
        start, self.next = self.next, min(self.limit, self.next + min(wish, self.size))
        return Leased(LeasedRange(f"lease-{start}", Range(start, self.next)))


def drain(feed: Feed, count: int, seconds: float = 2.0) -> list[int]:
    taken: list[int] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        nothing_more = bool(feed.why)  # asked first: a lease may come between the two questions
        if batch := feed.take(count):
            assert len(batch.samples) == len(batch.source.range) <= count
            taken += batch.samples.tokens.flatten().tolist()
        elif nothing_more:
            break
        else:
            time.sleep(0.001)
    return taken


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 200))
def test_every_leased_position_is_taken_once_in_order(size: int, count: int, limit: int) -> None:
    coordinator = Coordinator(size, limit)
    feed = Feed(coordinator.lease, Positions(), lambda: 50)
    feed.why = ""
    feed.start()
    assert drain(feed, count) == list(range(limit))
    feed.close()


def test_says_why_there_is_nothing_and_goes_on_when_the_coordinator_is_back() -> None:
    coordinator = Coordinator(10, 20)
    coordinator.down.set()
    feed = Feed(coordinator.lease, Positions(), lambda: 10)
    feed.start()
    until(lambda: "does not answer" in feed.why, 5)
    assert feed.take(4) is None
    assert feed.why == "nothing to train on: The coordinator does not answer."
    coordinator.down.clear()
    until(lambda: feed.take(4) is not None, 5)
    feed.close()


def test_leases_that_were_taken_back_are_not_trained_on() -> None:
    coordinator = Coordinator(100, 100)
    feed = Feed(coordinator.lease, Positions(), lambda: 100)
    feed.start()
    until(lambda: feed.left() > 0, 5)
    assert feed.take(4)
    feed.forget()
    assert feed.left() == 0
    feed.close()


def test_samples_are_here_before_they_are_handed_out_and_a_lease_waits_for_them() -> None:
    coordinator, shelf = Coordinator(size=4, limit=8), Positions()
    shelf.away.set()
    feed = Feed(coordinator.lease, shelf, lambda: 8)
    feed.start()
    until(lambda: "does not answer" in feed.why, 5)
    assert feed.take(4) is None
    assert feed.why == "nothing to train on: The coordinator does not answer."
    shelf.away.clear()
    until(lambda: feed.left() == 8, 5)
    assert drain(feed, 3) == list(range(8))
    feed.close()


def test_training_hears_that_nothing_will_come_any_more() -> None:
    """It would wait for ever; its process is started again instead."""
    shelf = Positions()
    shelf.fault = ZeroDivisionError("division by zero")
    feed = Feed(Coordinator(4, 8).lease, shelf, lambda: 8)
    feed.start()

    def heard() -> bool:
        try:
            return feed.take(4) is not None
        except RuntimeError as error:
            return error.__cause__ is shelf.fault

    until(heard, 5)
