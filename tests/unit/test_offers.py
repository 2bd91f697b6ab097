"""Offered checkpoints: nobody fills the coordinator's disk or memory with files that no state of the run is."""

from __future__ import annotations

from dataclasses import replace

from coordinator import decisions as d
from coordinator import events as e
from coordinator.records import Checkpoint
from coordinator.state import State
from coordinator.tick import tick
from tests.histories import START, fresh

STATE = Checkpoint(round=3, digest="d3", sha256="3" * 64, size=1000, global_samples=24)


def offered(state: State, member: str, checkpoint: Checkpoint) -> tuple[State, str]:
    """Why it is not wanted; empty when it is."""
    event = e.OfferCheckpoint(member, replace(checkpoint, uploaded_by=member))
    state, made = tick(state, [event], 0.0, 1)
    assert isinstance(made[-1], d.CheckpointOffered)
    return state, made[-1].why


def together() -> State:
    return tick(fresh(), [e.Join(who, b"k" * 32, who, "1") for who in ("anna", "ben")], 0.0, 1)[0]


def test_a_file_larger_than_any_state_is_not_wanted() -> None:
    state, why = offered(together(), "anna", replace(STATE, size=1 << 40))
    assert why == "no state of this run is as large"
    assert not state.offers


def test_a_member_offers_one_file_at_a_time() -> None:
    state = together()
    for number in range(1, 100):
        state, why = offered(state, "anna", replace(STATE, sha256=f"{number:064}"))
        assert why == ""
    state, _ = offered(state, "ben", STATE)
    assert sorted(state.offers) == sorted([f"{99:064}", STATE.sha256])


def test_what_had_arrived_of_a_file_that_was_given_up_is_deleted() -> None:
    state, _ = offered(together(), "anna", STATE)
    _, made = tick(state, [e.OfferCheckpoint("anna", replace(STATE, sha256="4" * 64, uploaded_by="anna"))], 0.0, 1)
    dropped = [item.checkpoint.sha256 for item in made if isinstance(item, d.CheckpointDropped)]
    assert dropped == [STATE.sha256]


def test_a_file_of_the_run_is_not_wanted_again_as_another_checkpoint() -> None:
    """Offered with a digest that it does not have, it would be deleted as a lie."""
    state, why = offered(together(), "anna", replace(STATE, sha256=START.sha256))
    assert (why, state.offers) == ("it is already here", {})
    state, _ = offered(state, "anna", STATE)
    state, _ = tick(state, [e.CheckpointUploaded(STATE.sha256, STATE.digest)], 0.0, 1)
    assert list(state.brought) == [STATE.sha256]
    state, why = offered(state, "ben", replace(STATE, round=5, digest="d5"))
    assert (why, state.offers) == ("it is already here", {})
