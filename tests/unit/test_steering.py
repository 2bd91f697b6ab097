"""What a maintainer decides about the run, and what members notice of it."""

from __future__ import annotations

from dataclasses import replace

from coordinator import decisions as d
from coordinator import events as e
from coordinator.ledger import Claim
from coordinator.records import Checkpoint
from coordinator.state import State
from coordinator.steering import CheckpointApproved, Course, Steered
from coordinator.tick import tick
from swarm.errors import NotFoundError
from swarm.ranges import Range
from tests.histories import fresh, report

NOW, BY = 1.7e9, "cafe0123"


def run(state: State, *events: e.Event) -> tuple[State, list[d.Decision]]:
    return tick(state, events, NOW, seed=1)


def joined() -> State:
    return run(fresh(), e.Join("a", bytes(32), "a", "1"))[0]


def steer(course: Course, why: str = "") -> e.Steer:
    return e.Steer(course, why, BY)


def test_a_paused_run_lends_nothing_says_why_and_still_counts() -> None:
    state, [*_, granted] = run(joined(), e.TakeLease("a", 8))
    assert isinstance(granted, d.LeaseGranted)
    state, [said] = run(state, steer(Course.PAUSED, "the data are wrong"))
    assert str(said) == "The run is paused by its maintainer: the data are wrong."
    state, [denied] = run(state, e.TakeLease("a", 8))
    assert denied == d.LeaseDenied("the run is paused by its maintainer: the data are wrong")
    state, made = run(state, e.Report("a", (report("k", 0, (Claim(granted.lease.id, Range(0, 8)),)),)))
    assert made[0].receipts[0].counted  # type: ignore[union-attr]
    assert (state.round, state.finished) == (1, False)


def test_a_paused_run_goes_on() -> None:
    _, made = run(joined(), steer(Course.PAUSED), steer(Course.ON, "mended"), e.TakeLease("a", 8))
    assert [str(one) for one in made[:2]] == ["The run is paused by its maintainer.", "The run goes on: mended."]
    assert isinstance(made[2], d.LeaseGranted)


def test_the_same_decision_again_changes_nothing() -> None:
    state, made = run(joined(), steer(Course.PAUSED, "w"), steer(Course.PAUSED, "w"), steer(Course.PAUSED, "other"))
    assert [type(one) for one in made] == [Steered, Steered]
    assert state.steering.why == "other"


def test_a_run_that_is_finished_early_lends_nothing_and_may_go_on_later() -> None:
    state, _ = run(joined(), steer(Course.FINISHED, "good enough"))
    assert state.finished
    assert not state.complete
    state, [denied] = run(state, e.TakeLease("a", 8))
    assert denied == d.LeaseDenied("the run was finished by its maintainer: good enough")
    state, made = run(state, steer(Course.ON), e.TakeLease("a", 8))
    assert isinstance(made[1], d.LeaseGranted)


def test_a_complete_run_cannot_be_steered() -> None:
    state = joined()
    state = replace(state, terms=replace(state.terms, total_rounds=0))
    state, [refused] = run(state, steer(Course.PAUSED))
    assert isinstance(refused, d.Refused)
    assert state.steering.course is Course.ON


def test_an_approved_checkpoint_is_kept_until_it_is_no_more() -> None:
    state, made = run(with_checkpoint(joined(), 5), e.ApproveCheckpoint(5, BY, "it answers well"))
    assert [str(one) for one in made] == [f"Checkpoint of round 5 is approved by {BY}: it answers well."]
    assert run(state, e.ApproveCheckpoint(5, BY, "it answers well"))[1] == []
    for round_ in (10, 15, 20):
        state = with_checkpoint(state, round_)
    assert sorted(state.checkpoints) == [0, 5, 15, 20]
    state, [taken_back] = run(state, e.ApproveCheckpoint(5, ""))
    assert isinstance(taken_back, CheckpointApproved)
    assert str(taken_back) == "Checkpoint of round 5 is approved no more."
    assert sorted(with_checkpoint(state, 25).checkpoints) == [0, 20, 25]


def test_a_checkpoint_that_is_not_there_is_not_approved() -> None:
    _, [refused] = run(joined(), e.ApproveCheckpoint(7, BY))
    assert isinstance(refused, d.Refused)
    assert (refused.code, refused.remedy) == (NotFoundError.code, "It keeps those of the rounds 0.")


def with_checkpoint(state: State, round_: int) -> State:
    """With the checkpoint of a round that a member uploaded."""
    offered = Checkpoint(round_, f"d{round_}", f"{round_:064x}", 1, 0, uploaded_by="a")
    state, _ = run(state, *(e.Report(who.id, (report(f"{who.id}{round_}", round_ - 1, ()),)) for who in state.live))
    state, _ = run(state, e.OfferCheckpoint("a", offered), e.CheckpointUploaded(offered.sha256, offered.digest))
    assert round_ in state.checkpoints
    return state
