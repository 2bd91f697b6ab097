"""One part of a swarm makes a round, and a state that nobody holds is given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import events as e
from coordinator import quorum
from coordinator.ledger import Claim
from coordinator.records import Pulse, Receipt
from coordinator.rounds import ReportDeferred
from coordinator.state import State
from tests.histories import report
from tests.unit.test_state import joined, lease, run

NAMES = "abcdef"


def asked(state: State, round_: int, members: str, blind: bool = False) -> tuple[State, bool, list[d.Decision]]:
    state, made = run(state, e.AskRound(members[0], round_, frozenset(members), blind=blind))
    return state, any(isinstance(item, d.RoundGranted) for item in made), made


def named(state: State, members: str, digest: str) -> State:
    """Each of them reports that round 0 ended in that state."""
    for who in members:
        state, _ = run(state, e.Report(who, (report(who, 0, (), digest=digest),)))
    return state


def beaten(state: State, times: int, *, since: float = 0.0, **pulses: Pulse) -> State:
    """Each letter of a name says so often, five seconds apart, what it is given."""
    for number in range(1, times + 1):
        beats = [e.Heartbeat(who, pulse) for names, pulse in pulses.items() for who in names]
        state, _ = run(state, *beats, now=since + 5.0 * number)
    return state


def test_who_asks_first_gets_the_round_and_may_change_in_part() -> None:
    state, first, _ = asked(joined(*NAMES), 0, "abc")
    state, other, made = asked(state, 0, "def")
    assert (first, other) == (True, False)
    assert "another part of the swarm makes it" in str(made[0])
    state, changed, _ = asked(state, 0, "abd")
    state, back, _ = asked(state, 0, "cef")
    assert (changed, back) == (True, False)


def test_who_is_no_member_any_more_is_not_missed() -> None:
    state, _, _ = asked(joined("a", "b"), 0, "ab")
    assert not asked(state, 0, "a")[1]
    state, _ = run(state, e.Leave("b", "night"))
    assert asked(state, 0, "a")[1]


@given(st.lists(st.sets(st.sampled_from(NAMES), min_size=1), min_size=1, max_size=6))
def test_two_parts_without_a_common_member_never_get_the_same_round(parts: list[set[str]]) -> None:
    state, last = joined(*NAMES), set[str]()
    for part in parts:
        state, granted, _ = asked(state, 0, "".join(sorted(part)))
        assert not granted or not last or part & last
        last = part if granted else last


def reported(state: State, granted: d.LeaseGranted, digest: str) -> tuple[State, tuple[Receipt, ...]]:
    """Its member says that round 0 ended with it, in a state of that digest."""
    lent = granted.lease
    said = report(lent.member, 0, (Claim(lent.id, lent.range),), digest)
    state, made = run(state, e.Report(lent.member, (said,)))
    assert isinstance(made[0], d.ReportFiled)
    return state, tuple(made[0].receipts)


def deferred(state: State, granted: d.LeaseGranted, digest: str) -> bool:
    """Whether that report has to be sent again later, and changes nothing until then."""
    lent = granted.lease
    said = report(lent.member, 0, (Claim(lent.id, lent.range),), digest)
    after, made = run(state, e.Report(lent.member, (said,)))
    waits = any(isinstance(item, ReportDeferred) for item in made)
    assert not waits or (after == state and len(made) == 1)
    return waits


def of_round_one() -> State:
    """a reported round 0, b is at work."""
    state, granted = lease(joined("a", "b"), "a", 10)
    state, _ = run(state, e.Report("a", (report("k", 0, (Claim(granted.lease.id, granted.lease.range),)),)))
    return state


def test_an_older_round_is_granted_only_when_nobody_holds_a_later_state() -> None:
    state, mine = lease(of_round_one(), "b", 4)
    assert not asked(state, 0, "b")[1]
    state, _ = run(state, e.Leave("a", "crash"))
    after, granted, made = asked(state, 0, "b")
    assert granted
    assert "went back from round 1 to the state of round 0" in str(made[0])
    assert (after.round, after.members["a"].counted) == (0, 0)
    late = e.Report("b", (report("late", 0, (Claim(mine.lease.id, mine.lease.range),)),))
    after, made = run(after, late)
    assert all(receipt.counted for receipt in made[0].receipts), "b held that state"  # type: ignore[union-attr]
    state, _ = run(state, e.Heartbeat("b", Pulse(round=1)))
    assert not asked(state, 0, "b")[1], "it says itself that it is further"


def test_a_checkpoint_is_for_more_than_half_of_those_who_hold_its_state() -> None:
    state, _ = run(of_round_one(), e.Heartbeat("b", Pulse(round=1)))
    assert not asked(state, 1, "b", blind=True)[1], "a may be going on"
    assert asked(state, 1, "b")[1], "a would ask, too"
    assert asked(state, 1, "ab", blind=True)[1]


def test_what_one_leader_did_in_a_round_that_others_made_does_not_count() -> None:
    """a led round 0 and was cut off before b and c heard its outcome."""
    state, mine = lease(joined("a", "b", "c"), "a", 10)
    state, granted, _ = asked(state, 0, "bc")
    assert granted
    before, theirs = lease(state, "b", 4)
    assert deferred(before, mine, "x")
    assert not asked(before, 1, "a")[1]
    state, receipts = reported(before, theirs, "y")
    assert all(receipt.counted for receipt in receipts)
    assert deferred(state, mine, "x"), "c may have made it with a"
    state = named(state, "c", "y")
    state, receipts = reported(state, mine, "x")
    assert [receipt.why for receipt in receipts] == ["another part of the swarm made this round"]


def test_who_asks_for_others_that_know_nothing_of_it_neither_stops_the_run_nor_decides() -> None:
    """m names a, who goes on with b and c, and reports first what nobody made."""
    state, granted, _ = asked(joined("a", "b", "c", "m"), 0, "ma")
    assert granted
    state, mine = lease(state, "b", 10)
    state = named(state, "m", "evil")
    assert deferred(state, mine, "x"), "a may have made the other one"
    state = named(state, "a", "x")
    state, receipts = reported(state, mine, "x")
    assert all(receipt.counted for receipt in receipts)
    state = named(state, "c", "x")
    assert (state.round, state.agreed_on(0)) == (1, "x")


def test_two_of_six_do_not_decide_with_one_that_they_name() -> None:
    state, granted, _ = asked(joined(*"abcdlm"), 0, "mla")
    assert granted
    state = named(state, "ml", "evil")
    assert state.round == 0
    state = named(state, "abcd", "x")
    assert (state.round, state.agreed_on(0)) == (1, "x")


def test_who_asks_is_of_the_part() -> None:
    _, made = run(joined("a", "b"), e.AskRound("a", 0, frozenset("b")))
    assert made == [d.RoundDenied(0, "who asks has no part in it")]


def test_a_member_whose_report_is_on_its_way_is_not_passed_over() -> None:
    """a and m reported the round before; b made it, too, and nothing was heard of it since."""
    state = joined("a", "b", "m")
    state = named(state, "am", "x")
    assert state.round == 1
    for number in range(3):
        assert not asked(state, 1, "m")[1]
        state = beaten(state, 1, am=Pulse(round=1, digest="x"), b=Pulse(), since=5.0 * number)
    assert asked(state, 1, "m")[1], "it said three times that it still makes the round before"


def test_who_fetches_the_state_that_it_helped_to_make_is_not_passed_over() -> None:
    state = joined("a", "b", "m")
    state = named(state, "abm", "x")
    state, _ = run(state, e.Heartbeat("b", Pulse(phase="syncing")))
    assert not asked(state, 1, "m")[1]
    assert not asked(state, 65, "m")[1]


def test_rounds_to_come_are_granted_to_half_of_the_members_only() -> None:
    assert not asked(joined(*"abm"), 3, "m")[1]
    assert asked(joined(*"abm"), 3, "ma")[1]


def test_who_is_left_of_a_part_does_not_decide_for_the_others() -> None:
    """m named a, and a left."""
    state, _, _ = asked(joined(*"abcm"), 0, "ma")
    state, _ = run(state, e.Leave("a", "night"), e.Report("m", (report("m", 0, (), digest="evil"),)))
    assert state.round == 0
    state, mine = lease(state, "b", 10)
    state, receipts = reported(state, mine, "x")
    assert all(receipt.counted for receipt in receipts)
    state = named(state, "c", "x")
    assert (state.round, state.agreed_on(0)) == (1, "x")


def test_one_that_stays_silent_stops_the_others_of_its_part_for_half_an_hour_only() -> None:
    """c did not hear what a and b made with it, while they were cut off from the others."""
    state, granted, _ = asked(joined(*"abcdef"), 0, "abc")
    assert granted
    state = named(state, "ab", "x")
    state = beaten(state, 359, ab=Pulse(round=1, digest="x"), cdef=Pulse())
    hurried, _ = run(state, *[e.Heartbeat(who, Pulse(round=1, digest="x")) for who in "ab"] * 400, now=5.0 * 359)
    assert (state.round, hurried.round) == (0, 0)
    state = beaten(state, 1, ab=Pulse(round=1, digest="x"), cdef=Pulse(), since=5.0 * 359)
    assert (state.round, state.agreed_on(0)) == (1, "x")


def test_where_one_of_a_part_crashed_before_its_report_half_an_hour_is_enough() -> None:
    state, _, _ = asked(joined(*"abcdef"), 0, "abc")
    state = named(state, "ab", "x")
    state, _ = run(state, e.Leave("c", "crash"))
    assert beaten(state, 360, ab=Pulse(round=1, digest="x"), de=Pulse(phase="syncing"), f=Pulse()).round == 1


def test_who_asked_when_it_was_alone_does_not_decide_for_those_who_came_since() -> None:
    state, _, _ = asked(joined("m"), 64, "m")
    state, _ = run(state, *(e.Join(name, name.encode() * 32, name, "1") for name in "abc"))
    state, mine = lease(state, "a", 10)
    state, receipts = reported(state, mine, "x")
    assert all(receipt.counted for receipt in receipts)
    state = named(state, "m", "evil")
    state = named(state, "bc", "x")
    assert (state.round, state.agreed_on(0)) == (1, "x")


def test_a_grant_binds_also_when_the_round_is_long() -> None:
    state = beaten(joined(*"abcd"), 360, abcd=Pulse())
    state, first, _ = asked(state, 0, "ab")
    assert first
    assert not asked(state, 0, "cd")[1]


def test_who_fetches_for_half_an_hour_holds_nobody_up() -> None:
    state = joined("a", "b")
    state = named(state, "ab", "x")
    states = {"a": Pulse(round=1, digest="x"), "b": Pulse(phase="syncing")}
    state = beaten(state, 1, **states)
    assert not asked(state, 1, "a", blind=True)[1]
    assert asked(beaten(state, 360, **states, since=5.0), 1, "a", blind=True)[1]


def test_who_asked_first_and_does_nothing_stops_nobody_for_ever() -> None:
    state, _, _ = asked(joined("m"), 0, "m")
    state, _ = run(state, *(e.Join(name, name.encode() * 32, name, "1") for name in "abc"))
    assert not asked(state, 0, "abc")[1]
    assert asked(beaten(state, 360, abcm=Pulse()), 0, "abc")[1]


def test_who_came_after_the_grant_counts_though_it_reports_first() -> None:
    """The grant for b was not used: a came back, and they made the round together."""
    state, mine = lease(joined("a", "b"), "a", 10)
    state, _, _ = asked(state, 0, "b")
    assert deferred(state, mine, "x")
    state = named(state, "b", "x")
    assert all(receipt.counted for receipt in reported(state, mine, "x")[1])


def test_a_report_does_not_wait_for_those_who_are_gone_or_further() -> None:
    state, mine = lease(joined("a", "b"), "a", 10)
    state, _, _ = asked(state, 0, "b")
    assert deferred(state, mine, "x")
    late, _ = run(state, e.Heartbeat("b", Pulse(round=64)))
    assert deferred(late, mine, "x"), "its report may be on its way"
    further = e.Report("b", (report("b", 1, (), digest="y"),))
    for event in (e.Leave("b", "crash"), further, e.Heartbeat("b", Pulse(round=65))):
        after, _ = run(state, event)
        assert not deferred(after, mine, "x")
        [receipt] = reported(after, mine, "x")[1]
        assert receipt.counted != (event == further), "b went on from another state, or nobody did"


def test_who_was_granted_a_round_and_took_over_what_another_made_of_it_says_so_by_its_heartbeat() -> None:
    """b did not hear how the round ended, was granted it, and then found a again and fetched its state."""
    state, mine = lease(joined("a", "b"), "a", 10)
    state, _, _ = asked(state, 0, "b")
    other, _ = run(state, e.Heartbeat("b", Pulse(round=1, digest="y")))
    assert deferred(other, mine, "x"), "a heartbeat alone rejects nothing"
    state, _ = run(state, e.Heartbeat("b", Pulse(round=1, digest="x")))
    assert all(receipt.counted for receipt in reported(state, mine, "x")[1])


def test_the_run_does_not_go_back_behind_one_who_took_part_without_samples() -> None:
    state, _ = run(joined("a", "b"), e.Report("a", (report("k", 0, ()),)))
    state, _ = lease(state, "b", 4)
    assert (state.round, state.reported) == (0, 1)
    state, _ = run(state, e.Report("b", (report("k2", 0, ()),)))
    assert state.round == 1


def test_who_holds_another_state_of_the_round_is_not_waited_for() -> None:
    """a led round 0 while it was cut off from b, to which it was granted. It hears only of a later round than its own
    that it has to take the run's state, so b must be able to go on alone until then.
    """
    state, _, _ = asked(joined("a", "b"), 0, "b")
    state = named(state, "b", "y")
    state, _ = run(state, e.Heartbeat("a", Pulse(round=1, digest="x")))
    assert not asked(state, 1, "a")[1]
    state, _ = run(state, e.Report("b", (report("b1", 1, (), digest="z"),)))
    assert state.round == 2


def test_who_hurries_has_nothing_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    state, looks = beaten(joined("a"), 360, a=Pulse()), list[State]()
    monkeypatch.setattr(quorum, "looked", lambda state: (looks.append(state) or state, []))
    run(state, *[e.Heartbeat("a", Pulse())] * 50, now=5.0 * 360 + 0.1)
    assert not looks
