"""Every finished round is told once, in order, when its reports are here; again after the run went back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.chronicle import Chronicle
from coordinator.ledger import Return
from coordinator.rounds import Poll, RoundSummary
from coordinator.state import State
from tests.histories import fresh, report


def at_round(number: int, state: State | None = None) -> State:
    """A state in which rounds below `number` are finished."""
    state = state or fresh()
    for made in range(state.round, number):
        poll = replace(Poll().plus("m", report("", made, ()).metrics), agreed=f"d{made + 1}")
        state = replace(state, votes=state.votes.set(made, poll), reached=made + 1)
    return state


def went_back(state: State, to: int) -> State:
    votes = state.votes
    for number in range(to, state.round):
        votes = votes.delete(number)
    back = Return(first_lease=state.ledger.next_number, round=to)
    ledger = replace(state.ledger, returns=(*state.ledger.returns, back))
    return replace(state, votes=votes, reached=min(state.reached, to), ledger=ledger)


def chronicle(state: State) -> tuple[Chronicle, list[RoundSummary]]:
    told: list[RoundSummary] = []
    made = Chronicle(state)
    made.listeners.append(told.append)
    return made, told


@given(st.lists(st.integers(0, 3), max_size=12))
def test_each_round_is_told_once_and_in_order(steps: list[int]) -> None:
    state = fresh()
    watch, told = chronicle(state)
    for now, more in enumerate(steps):
        state = at_round(state.round + more, state)
        watch.look(state, float(now))
    watch.look(state, 1000.0)
    watch.look(state, 2000.0)
    assert [summary.round for summary in told] == list(range(sum(steps)))


def test_the_newest_round_waits_for_late_reports() -> None:
    state = fresh()
    watch, told = chronicle(state)
    watch.look(at_round(3), 100.0)
    assert [summary.round for summary in told] == [0, 1]
    watch.look(at_round(3), 111.0)
    assert [summary.round for summary in told] == [0, 1, 2]


def test_rounds_made_again_are_told_again() -> None:
    state = at_round(6)
    watch, told = chronicle(fresh())
    watch.look(state, 100.0)
    watch.look(at_round(7, went_back(state, 3)), 100.5)  # more than was undone, between two looks
    assert [summary.round for summary in told] == [0, 1, 2, 3, 4, 3, 4, 5]


def test_a_coordinator_that_starts_tells_only_what_is_new() -> None:
    state = at_round(5)
    watch, told = chronicle(state)
    watch.look(at_round(7, state), 100.0)
    assert [summary.round for summary in told] == [5]


def test_a_round_whose_listener_fails_is_told_again_and_those_before_it_are_not() -> None:
    watch, told = chronicle(fresh())
    full = [2]

    def keeps(summary: RoundSummary) -> None:
        if summary.round in full:
            raise OSError("the disk is full")

    watch.listeners.append(keeps)
    with pytest.raises(OSError, match="full"):
        watch.look(at_round(5), 100.0)
    full.clear()
    watch.look(at_round(5), 101.0)
    assert [summary.round for summary in told] == [0, 1, 2, 2, 3]
