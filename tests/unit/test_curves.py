"""A thinned history holds all rounds, in few points, whether they came at once or one by one."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from coordinator.logbook import Round, Work
from coordinator.web.badges import badges
from coordinator.web.curves import History, Span, thinned
from swarm.thinning import evenly


def made(number: int, loss: float | None) -> Round:
    return Round(number, 10.0 * number, loss, 8, 2, 8 * number, 1.0, 2.0, 3, 4, True, "d")


LOSSES = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=400)


@given(LOSSES, st.integers(1, 40), st.integers(0, 1000))
def test_thinned_spans_hold_the_same_rounds(losses: list[float | None], most: int, first: int) -> None:
    spans = [Span.of(made(first + number, loss)) for number, loss in enumerate(losses)]
    found = thinned(spans, most)
    assert len(found) <= max(most, 2)
    assert (found[0].first, found[-1].last) == (spans[0].first, spans[-1].last)
    assert all(before.last + 1 == after.first for before, after in itertools.pairwise(found))
    for name in ("rounds", "samples", "members", "bytes_sent", "losses"):
        assert sum(getattr(span, name) for span in found) == sum(getattr(span, name) for span in spans)
    numbers = [loss for loss in losses if loss is not None]
    mean = sum(span.loss * span.losses for span in found)
    assert math.isclose(mean, sum(numbers), abs_tol=1e-6 * (1 + sum(map(abs, numbers))))
    assert not numbers or max(span.high for span in found if span.losses) == max(numbers)
    slack = 1e-9 * (1 + max(map(abs, numbers), default=0.0))
    assert all(span.low - slack <= span.loss <= span.high + slack for span in found)


@given(LOSSES, st.integers(2, 20))
def test_a_history_that_came_round_by_round_is_the_same(losses: list[float | None], most: int) -> None:
    history = History(most)
    for number, loss in enumerate(losses):
        history.add(made(number, loss))
    whole = thinned([Span.of(made(number, loss)) for number, loss in enumerate(losses)], most)
    shape = [(span.first, span.last, span.rounds, span.low, span.high) for span in history.spans()]
    assert shape == [(span.first, span.last, span.rounds, span.low, span.high) for span in whole]


@given(st.integers(1, 300), st.integers(0, 299), st.integers(2, 20))
def test_after_going_back_nothing_of_what_was_undone_is_left(count: int, back: int, most: int) -> None:
    history = History(most)
    for number in range(count):
        history.add(made(number, 1.0))
    for number in range(min(back, count), count + 5):
        history.add(made(number, 2.0))
    undone = [span for span in history.spans() if span.first >= back]
    assert all(span.low == 2.0 for span in undone)
    assert history.spans()[-1].last == count + 4


@given(st.lists(st.integers(), max_size=100), st.integers(2, 20))
def test_spread_keeps_the_ends(items: list[int], most: int) -> None:
    found = evenly(items, most)
    assert len(found) <= most
    assert (found[:1], found[-1:]) == (items[:1], items[-1:])


def test_badges_are_the_highest_that_were_reached() -> None:
    assert badges(Work()) == []
    assert badges(Work(rounds=1, nights=1)) == ["1 round", "1 night"]
    assert badges(Work(rounds=12_345, nights=29)) == ["10,000 rounds", "7 nights"]
