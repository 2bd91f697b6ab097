"""When the run itself goes back, where to, and when it stops."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import divergence
from coordinator import events as e
from coordinator.invariants import of_state
from coordinator.ledger import Claim
from coordinator.records import Checkpoint, Evaluation, Pulse, Quarantine
from coordinator.state import State
from coordinator.tick import tick
from swarm.checks import failed
from swarm.faults import Fault
from tests.histories import History, fresh, report

LONG = replace(fresh().terms, total_rounds=1000, keep_checkpoints=3, epoch_samples=10_000)


def run(state: State, *events: e.Event, now: float = 0.0) -> tuple[State, list[d.Decision]]:
    return tick(state, events, now, seed=1)


def trained(rounds: int, *names: str, every: int = 2) -> State:
    """The members made so many rounds together, each with 4 samples in each; checkpoints on the way."""
    state, _ = run(fresh(LONG), *(e.Join(name, b"k" * 32, name, "1") for name in names))
    for number in range(rounds):
        state = one_round(state, number, *names)
        if (number + 1) % every == 0:
            offered = Checkpoint(number + 1, f"d{number + 1}", f"{number + 1:064}", 1, 8)
            state, _ = run(
                state, e.OfferCheckpoint(names[0], offered), e.CheckpointUploaded(offered.sha256, offered.digest)
            )
    return state


def one_round(state: State, number: int, *names: str, loss: float = 1.0) -> State:
    for name in names:
        state, made = run(state, e.TakeLease(name, 4))
        lease = next(item.lease for item in made if isinstance(item, d.LeaseGranted))
        done = report(f"{name}{number}/{state.lineage}", number, (Claim(lease.id, lease.range),))
        done = replace(done, lineage=state.lineage, metrics=replace(done.metrics, group_size=len(names), loss=loss))
        state, _ = run(state, e.Report(name, (done,)))
    return state


def ill(state: State, name: str, round_: int, fault: Fault = Fault.NOT_FINITE, row: int = 1) -> e.Heartbeat:
    return e.Heartbeat(name, Pulse(quarantine=Quarantine(fault, round_, row, "the loss is nan")), "", state.lineage)


def well(state: State, name: str) -> e.Heartbeat:
    return e.Heartbeat(name, Pulse(), "", state.lineage)


def back_of(made: list[d.Decision]) -> list[int]:
    return [item.rollback.back_to for item in made if isinstance(item, d.RolledBack) and not item.rollback.halted]


def test_one_of_three_heals_alone_and_two_take_the_run_back() -> None:
    state = trained(5, "a", "b", "c")
    state, made = run(state, ill(state, "a", 5))
    assert [str(item) for item in made] == ["a (a) quarantined itself in round 5: the loss is nan."]
    state, made = run(state, ill(state, "a", 5))
    assert made == []
    state, made = run(state, ill(state, "b", 5, Fault.LOSS_SPIKE))
    assert back_of(made) == [4]
    why = "2 of 3 members quarantined themselves (the loss is nan)"
    assert f"The run went back from round 5 to the state of round 4: {why}; 12 samples are free again." in map(
        str, made
    )
    assert (state.round, state.latest.round, state.lineage) == (4, 4, 1)
    assert failed(of_state(state)) == []


@pytest.mark.parametrize("fault", [Fault.OTHER_STATE, Fault.DAMAGED_STATE])
def test_faults_of_single_machines_never_take_the_run_back(fault: Fault) -> None:
    state = trained(5, "a", "b")
    state, made = run(state, ill(state, "a", 5, fault), ill(state, "b", 5, fault))
    assert back_of(made) == []


def test_only_what_happened_in_the_same_rounds_counts() -> None:
    state = trained(5, "a", "b", "c")
    state, made = run(state, ill(state, "a", 3), ill(state, "b", 5))
    assert back_of(made) == []


def test_who_is_alone_tries_once_more_by_itself() -> None:
    state = trained(5, "a")
    state, made = run(state, ill(state, "a", 5))
    assert back_of(made) == []
    state, made = run(state, ill(state, "a", 5, row=2))
    assert back_of(made) == [4]


def test_a_checkpoint_of_the_first_state_in_doubt_is_bad() -> None:
    state = trained(6, "a", "b")
    assert sorted(state.checkpoints) == [0, 2, 4, 6]
    state, made = run(state, ill(state, "a", 6), ill(state, "b", 6))
    assert (state.latest.round, sorted(state.checkpoints)) == (4, [0, 2, 4])
    dropped = [item for item in made if isinstance(item, d.CheckpointDropped)]
    assert [item.checkpoint.round for item in dropped] == [6]
    assert "the run went back to before it" in str(dropped[0])


def test_what_belongs_to_the_earlier_lineage_counts_for_nothing() -> None:
    state = trained(4, "a", "b")
    state, made = run(state, e.TakeLease("a", 4))
    lease = next(item.lease for item in made if isinstance(item, d.LeaseGranted))
    state, _ = run(state, ill(state, "a", 4), ill(state, "b", 4))
    assert (state.round, state.lineage) == (2, 1)
    late = report("late", 4, (Claim(lease.id, lease.range),))
    idle = report("idle", 4, ())
    state, _ = run(state, e.Report("a", (late, idle)))
    assert (state.round, state.members["a"].rejected) == (2, 4)
    state, made = run(state, e.TakeLease("a", 4), e.AskRound("a", 4, frozenset({"a"})))
    assert [type(item) for item in made] == [d.LeaseDenied, d.RoundDenied]
    state, made = run(state, replace(ill(state, "b", 4), lineage=0))
    assert back_of(made) == []
    state, made = run(state, well(state, "a"), e.TakeLease("a", 4))
    assert any(isinstance(item, d.LeaseGranted) for item in made)


def test_who_joins_again_with_a_state_of_the_earlier_lineage_holds_nothing() -> None:
    state = trained(4, "a", "b")
    state, _ = run(state, ill(state, "a", 4), ill(state, "b", 4))
    state, _ = run(state, e.Join("a", b"k" * 32, "a", "1", round=4, lineage=0))
    assert state.members["a"].holds == 0
    assert state.round == 2


def diverge(state: State, round_: int) -> tuple[State, list[d.Decision]]:
    state, _ = run(state, well(state, "a"), well(state, "b"))
    return run(state, ill(state, "a", round_), ill(state, "b", round_))


def test_again_at_the_same_place_goes_further_back_and_then_the_run_stops() -> None:
    state = trained(6, "a", "b")
    state, first = diverge(state, 5)
    state, second = diverge(state, 5)
    state, third = diverge(state, 3)
    assert [back_of(made) for made in (first, second, third)] == [[4], [2], [2]]
    assert not state.halted
    state, made = diverge(state, 3)
    why = "2 of 2 members quarantined themselves (the loss is nan), and going back 3 times did not help"
    assert state.halted == why
    assert f"The run was stopped: {why}." in map(str, made)
    state, made = run(state, well(state, "a"), e.TakeLease("a", 4))
    assert made == [d.LeaseDenied(f"the run was stopped: {why}")]
    assert diverge(state, 3)[0].rollbacks == state.rollbacks


def test_a_run_that_comes_well_beyond_the_place_begins_to_count_anew() -> None:
    state = trained(4, "a", "b")
    state, _ = diverge(state, 3)
    state, _ = run(state, well(state, "a"), well(state, "b"))
    for number in range(2, 14):
        state = one_round(state, number, "a", "b")
    state, made = diverge(state, 14)
    assert back_of(made) == [2]
    assert state.rollbacks[-1].again == 1


def no_loss(who: str, round_: int, loss: float = math.nan) -> e.Evaluated:
    return e.Evaluated(who, Evaluation(round_, f"d{round_}", loss, {}, who))


def test_a_held_out_loss_that_is_no_number_takes_two_words_and_each_is_heard_once() -> None:
    state = trained(5, "a", "b", "c", "d")
    state, made = run(state, no_loss("c", 5), no_loss("c", 5))
    assert back_of(made) == []
    state, made = run(state, no_loss("a", 5))
    assert back_of(made) == [4]
    state, made = run(state, no_loss("a", 4), no_loss("c", 4), no_loss("b", 4))
    assert back_of(made) == []
    assert back_of(run(state, no_loss("d", 4))[1]) == [2]


def test_a_finite_loss_of_the_same_state_clears_the_doubt() -> None:
    _, made = run(trained(5, "a", "b", "c"), no_loss("c", 5), no_loss("b", 5, 2.0), no_loss("a", 5))
    assert back_of(made) == []


def test_who_is_alone_doubts_alone() -> None:
    assert back_of(run(trained(5, "a"), no_loss("a", 5))[1]) == [4]


def test_the_seats_of_a_key_have_one_voice_in_doubts_and_quarantines() -> None:
    state, seats = trained(5, "a", "b", "c", "e"), ("e", "e-1", "e-2", "e-3", "e-4")
    state, _ = run(state, *(e.Join(seat, b"k" * 32, seat, "1") for seat in seats))
    state, made = run(state, *(no_loss(seat, 5) for seat in seats))
    assert (back_of(made), state.lineage, state.halted) == ([], 0, "")
    state, made = run(state, *(ill(state, seat, 5) for seat in seats))
    assert back_of(made) == []
    state, made = run(state, ill(state, "a", 5))
    assert back_of(made) == [], "two of four keys are not more than half"
    assert back_of(run(state, ill(state, "b", 5))[1]) == [4]


def test_a_held_out_loss_of_a_state_that_the_run_does_not_know_says_nothing() -> None:
    state = trained(5, "a", "b", "c")
    state, made = run(state, e.Evaluated("c", Evaluation(5, "other", math.nan)))
    assert back_of(made) == []


def test_most_reports_without_a_finite_loss_take_the_run_back() -> None:
    state = trained(5, "a", "b", "c")
    after = one_round(state, 5, "a", loss=math.nan)
    assert after.lineage == 0
    assert one_round(after, 5, "b", loss=math.inf).lineage == 1
    assert one_round(after, 5, "b").lineage == 0


def test_a_member_hears_that_its_state_is_not_the_runs() -> None:
    state = trained(5, "a", "b", "c")
    assert divergence.differs(state, Pulse(round=5, digest="d5")) == ""
    assert divergence.differs(state, Pulse(round=5, digest="")) == ""
    assert divergence.differs(state, Pulse(round=6, digest="not known yet")) == ""
    assert "most of those who made" in divergence.differs(state, Pulse(round=5, digest="x"))
    assert "checkpoint of round 0" in divergence.differs(state, Pulse(round=0, digest="x"))


def test_one_early_report_of_a_bad_state_makes_no_majority() -> None:
    state = trained(4, "a", "b", "c")
    one = replace(
        report("early", 4, (), digest="bad"), metrics=replace(report("", 4, (), digest="bad").metrics, group_size=3)
    )
    state, _ = run(state, e.Report("a", (one,)))
    assert divergence.differs(state, Pulse(round=5, digest="d5")) == ""


def test_positions_that_were_undone_are_lent_again_and_counted_once() -> None:
    state = trained(4, "a", "b")
    state, _ = diverge(state, 4)
    state, made = run(state, well(state, "a"), e.TakeLease("a", 1000))
    lease = next(item.lease for item in made if isinstance(item, d.LeaseGranted))
    assert lease.range.start == 16
    assert state.ledger.counted_samples == 16


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_happens_a_going_back_leaves_only_older_checkpoints_and_ends_some_time(seed: int) -> None:
    for before, made, after, _ in History(seed).steps(100):
        found = [item.rollback for item in made if isinstance(item, d.RolledBack)]
        assert after.lineage == before.lineage + len(found)
        for back in found:
            assert back.again <= divergence.MOST or back.halted
            assert back.halted or back.back_to < back.place or back.back_to == 0
        if found and not found[-1].halted:
            assert max(after.checkpoints) == after.round == found[-1].back_to
            # Who reports an earlier round in the same tick holds the state to which the run went back.
            assert all(member.holds <= after.round for member in after.live)
        assert not before.halted or after.rollbacks == before.rollbacks
