"""One identity on several machines: a seat for each process, and none speaks for another."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import events as e
from coordinator.records import Pulse
from coordinator.state import State
from coordinator.tick import tick
from swarm.identity import SEATS, member_id
from tests.histories import fresh

KEY = b"k" * 32
FIRST, SECOND = member_id(KEY), member_id(KEY, 1)


def join(session: str, replaces: str = "", seat: int = 0) -> e.Join:
    return e.Join(member_id(KEY, seat), KEY, f"pc of {session}", "1", session=session, replaces=replaces)


def run(state: State, *events: e.Event, now: float = 0.0) -> tuple[State, list[d.Decision]]:
    return tick(state, events, now, seed=1)


def place(made: list[d.Decision]) -> str:
    return next(item.member.id for item in made if isinstance(item, d.MemberJoined))


def test_a_copy_gets_a_seat_of_its_own_and_hears_why() -> None:
    state, _ = run(fresh(), join("a"))
    state, made = run(state, join("b"))
    assert place(made) == SECOND
    assert "also at work as" in str(made[0])
    assert "pc of a" in str(made[0])
    assert {member.id: member.session for member in state.live} == {FIRST: "a", SECOND: "b"}


def test_the_same_process_and_its_successor_keep_the_seat() -> None:
    state, _ = run(fresh(), join("a"))
    state, made = run(state, join("a"))
    assert place(made) == FIRST
    state, made = run(state, join("b", replaces="a"))
    assert place(made) == FIRST
    assert state.members[FIRST].session == "b"


def test_who_left_or_fell_silent_leaves_the_seat_to_others() -> None:
    state, _ = run(fresh(), join("a"), e.Leave(FIRST, "tired", "a"))
    assert place(run(state, join("b"))[1]) == FIRST
    state, _ = run(fresh(), join("a"))
    state, _ = run(state, now=1000.0)
    assert place(run(state, join("b"), now=1000.0)[1]) == FIRST


def test_a_process_that_was_replaced_is_refused_and_then_sits_elsewhere() -> None:
    """A whole folder was copied, with the note of its session: the copy takes the seat, and nothing counts twice."""
    state, made = run(fresh(), join("a"), e.TakeLease(FIRST, 8, "a"))
    lease = next(item.lease for item in made if isinstance(item, d.LeaseGranted))
    state, _ = run(state, join("copy", replaces="a"))
    for event in (e.Heartbeat(FIRST, Pulse(), "a"), e.TakeLease(FIRST, 8, "a"), e.Leave(FIRST, "", "a")):
        after, made = run(state, event)
        assert [type(item) for item in made] == [d.Refused]
        assert after == state
    state, made = run(state, join("a"))
    assert place(made) == SECOND
    state, made = run(state, e.TakeLease(SECOND, 8, "a"), e.TakeLease(FIRST, 8, "copy"))
    spans = [lease.range, *(item.lease.range for item in made if isinstance(item, d.LeaseGranted))]
    assert len(spans) == 3
    assert len({position for span in spans for position in range(*span)}) == sum(map(len, spans))


def test_after_a_restart_of_the_coordinator_whoever_is_there_first_has_the_seat() -> None:
    state, _ = run(fresh(), join("a"))
    state, _ = run(state, e.Resumed())
    state, _ = run(state, e.Heartbeat(FIRST, Pulse(), "a"))
    assert place(run(state, join("b"))[1]) == SECOND


def test_no_seat_is_left() -> None:
    state, _ = run(fresh(), *(join(f"s{number}") for number in range(SEATS)))
    assert len(state.live) == SEATS
    _, [refused] = run(state, join("one more"))
    assert isinstance(refused, d.Refused)
    assert refused.remedy


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd-"), st.integers(0, 3)), max_size=30))
def test_no_two_processes_ever_share_a_seat(joins: list[tuple[str, str, int]]) -> None:
    """Whoever holds a seat was the last to join there, and all live members have different sessions or seats."""
    state = fresh()
    holders: dict[str, str] = {}
    for session, replaces, seat in joins:
        state, made = run(state, join(session, replaces.strip("-"), seat))
        holders[place(made)] = session
        assert {member.id: member.session for member in state.live} == holders
