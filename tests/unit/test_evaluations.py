"""Which measurements of the run's states stand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from coordinator import decisions as d
from coordinator import events as e
from coordinator.records import Checkpoint, Evaluation, TextSample
from coordinator.state import State
from tests.histories import fresh, report
from tests.unit.test_state import joined, run


def measured(round_: int, digest: str, loss: float = 2.0, by: str = "a", **metrics: float) -> e.Evaluated:
    return e.Evaluated(by, Evaluation(round_, digest, loss, metrics, by))


def voted(round_: int = 0) -> State:
    """Two of three reports say that θ_(round_ + 1) is "good"."""
    state = joined("a", "b", "c")
    for who, digest in (("a", "good"), ("b", "good"), ("c", "bad")):
        state, _ = run(state, e.Report(who, (report(f"k{who}", round_, (), digest),)))
    return state


def accepted(state: State, digest: str, round_: int = 1) -> tuple[State, list[d.Decision]]:
    offered = Checkpoint(round_, digest, digest[0] * 64, 9, 8)
    state, _ = run(state, e.OfferCheckpoint("a", offered))
    return run(state, e.CheckpointUploaded(offered.sha256, digest))


def test_the_first_that_nothing_contradicts_stays() -> None:
    state, made = run(voted(), measured(1, "good", 2.5, bleu=31.25))
    assert str(made[0]) == "Round 1: held-out loss 2.500, bleu 31.25, measured by a."
    state, made = run(state, measured(1, "good", 2.5, "b", bleu=31.25))
    assert isinstance(made[0], d.EvaluationKnown)
    assert state.evaluations[1].evaluated_by == "a"


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (measured(1, "bad"), "most reports of that round name another digest"),
        (measured(1, "good", math.nan), "its held-out loss is nan, which is no finite number"),
        (measured(1, "good", 2.0, bleu=math.inf), "its bleu is inf, which is no finite number"),
        (measured(0, "d1"), "the checkpoint of that round has another digest"),
        (measured(41, "x"), "the run ends with round 40"),
    ],
)
def test_what_is_no_measurement_of_a_state_of_the_run_is_refused_with_the_reason(event: e.Evaluated, why: str) -> None:
    state, made = run(voted(), event)
    assert made[0] == d.EvaluationDenied(event.evaluation, why)
    assert len(made) == 1 or math.isnan(event.evaluation.heldout_loss)  # that is a sign of divergence, too
    assert not state.evaluations


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (measured(1, "good", 2.25, "b", bleu=1.0), "its held-out loss is 2.25, but 2.0 was measured by a before"),
        (measured(1, "good", 2.0, "b", bleu=3.0), "its bleu is 3.0, but 1.0 was measured by a before"),
        (measured(1, "good", 2.0, "b"), "its bleu is missing, but 1.0 was measured by a before"),
    ],
)
def test_another_measurement_of_the_same_state_is_refused_and_names_the_difference(
    event: e.Evaluated, why: str
) -> None:
    state, _ = run(voted(), measured(1, "good", 2.0, bleu=1.0))
    after, made = run(state, event)
    assert made == [d.EvaluationDenied(event.evaluation, why)]
    assert after.evaluations == state.evaluations


def test_another_text_of_the_same_state_changes_nothing() -> None:
    first, other = ((TextSample("The ", text),) for text in ("cat.", "Vote for me!"))
    event = measured(1, "good")
    state, _ = run(voted(), replace(event, evaluation=replace(event.evaluation, samples=first)))
    again = replace(event.evaluation, samples=other, evaluated_by="b")
    state, made = run(state, e.Evaluated("b", again))
    assert isinstance(made[0], d.EvaluationKnown)
    assert (state.evaluations[1].samples, state.evaluations[1].evaluated_by) == (first, "a")


def test_one_that_came_before_the_reports_gives_way_when_they_contradict_it() -> None:
    state, _ = run(joined("a", "b", "c"), measured(1, "lie"))
    for who in "abc":
        state, _ = run(state, e.Report(who, (report(f"k{who}", 0, (), "good"),)))
    state, made = run(state, measured(1, "good", by="b"))
    assert [type(item) for item in made] == [d.EvaluationDropped, d.EvaluationAccepted]
    assert state.evaluations[1].evaluated_by == "b"


def test_it_belongs_to_the_checkpoint_of_its_digest_whichever_comes_first() -> None:
    state, _ = run(voted(), measured(1, "good"))
    state, _ = accepted(state, "good")
    assert state.evaluation_of(state.latest) == state.evaluations[1]
    state, _ = run(joined("a"), measured(1, "lie"), e.Report("a", (report("k", 0, (), "good"),)))
    state, made = accepted(state, "good")
    assert str(made[-1]).endswith("is used no more: the checkpoint of that round has another digest.")
    assert state.evaluation_of(state.latest) is None
    state, _ = run(state, measured(1, "good"))
    assert state.evaluation_of(state.latest) == state.evaluations[1]


def test_going_back_takes_evaluations_of_later_rounds_along() -> None:
    state, _ = run(voted(), measured(0, "d0"), measured(1, "good"))
    state, _ = run(state, *(e.Leave(who, "night") for who in "abc"), e.Join("d", b"d" * 32, "d", "1"))
    state, made = run(state, e.TakeLease("d", 1))
    assert isinstance(made[0], d.WentBack)
    assert sorted(state.evaluations) == [0]
    assert run(state, measured(1, "good", by="d"))[1] == [
        d.EvaluationDenied(Evaluation(1, "good", 2.0, {}, "d"), "the run went back, and is in round 0 now")
    ]


def test_only_a_live_member_may_say_so() -> None:
    assert isinstance(run(fresh(), measured(0, "d0"))[1][0], d.Refused)
