"""Measuring a line costs the coordinator a bounded number of bytes, and not too often."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.probe import Probe
from swarm.errors import OverloadError
from swarm.proto import coordinator_pb2 as pb
from swarm.ration import Ration

MOST = 8 << 20


def probe(tries: int = 9) -> Probe:
    return Probe(Ration(tries, 60.0, lambda: 0.0))


def test_it_sends_no_more_than_it_says() -> None:
    assert sum(len(chunk.data) for chunk in probe().send("a")) == MOST


def test_it_takes_no_more_than_it_says_and_counts_it() -> None:
    taken = [0]

    def endless() -> Iterator[pb.Chunk]:
        for data in repeat(bytes(1 << 16)):
            taken[0] += len(data)
            yield pb.Chunk(data=data)

    answer = probe().take("a", endless())
    assert answer.size == MOST
    assert taken[0] == MOST + (1 << 16), "the first chunk only warms the line"
    assert answer.seconds > 0


def test_nothing_that_arrives_is_nothing() -> None:
    assert probe().take("a", iter(())).size == 0


def test_who_asks_too_often_is_refused_and_others_are_not() -> None:
    asked = probe(tries=2)
    for _ in range(2):
        next(asked.send("a"))
    with pytest.raises(OverloadError):
        next(asked.send("a"))
    with pytest.raises(OverloadError):
        asked.take("a", iter(()))
    next(asked.send("b"))


@given(st.lists(st.integers(0, 100), max_size=40), st.integers(1, 5), st.integers(1, 50))
def test_no_window_holds_more_than_the_ration(times: list[int], tries: int, window: int) -> None:
    now = [0.0]
    ration = Ration(tries, window, lambda: now[0])
    granted = []
    for now[0] in sorted(times):
        if ration.permits("a"):
            granted.append(now[0])
    for begin in granted:
        assert len(list(islice((at for at in granted if begin <= at < begin + window), tries + 1))) <= tries
