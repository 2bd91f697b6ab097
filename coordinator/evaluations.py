"""Which measurements of the run's states stand. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from coordinator import decisions as d
from coordinator import events as e
from coordinator.records import Evaluation
from coordinator.state import State, Step, doubt


def judge(state: State, event: e.Evaluated) -> Step:
    """The first evaluation of a round that nothing contradicts stays."""
    found, known = event.evaluation, state.evaluations.get(event.evaluation.round)
    if why := _flaw(found) or _objection(state, found):
        return state, [d.EvaluationDenied(found, why)]
    if known is None:
        return _accept(state, found), [d.EvaluationAccepted(found)]
    if why := _objection(state, known):  # reports that came later speak against it
        return _accept(state, found), [d.EvaluationDropped(known, why), d.EvaluationAccepted(found)]
    if why := _difference(known, found):
        return state, [d.EvaluationDenied(found, why)]
    return state, [d.EvaluationKnown(known)]


def checked(state: State, round_: int) -> Step:
    """Without the evaluation of `round_`, if the checkpoint that came now is of another state."""
    known = state.evaluations.get(round_)
    why = _objection(state, known) if known else ""
    if not known or not why:
        return state, []
    left = {key: value for key, value in state.evaluations.items() if key != round_}
    return replace(state, evaluations=left), [d.EvaluationDropped(known, why)]


def _accept(state: State, found: Evaluation) -> State:
    return replace(state, evaluations={**state.evaluations, found.round: found})


def _flaw(found: Evaluation) -> str:
    for name, value in (("held-out loss", found.heldout_loss), *sorted(found.metrics.items())):
        if not math.isfinite(value):
            return f"its {name} is {value}, which is no finite number"
    return ""


def _objection(state: State, found: Evaluation) -> str:
    """Why the run has no such state, as far as is known; empty when it may have it."""
    if checkpoint := state.checkpoints.get(found.round):
        return "" if found.digest == checkpoint.digest else "the checkpoint of that round has another digest"
    return doubt(state, found.round, found.digest)


def _difference(known: Evaluation, found: Evaluation) -> str:
    """What makes `found` another measurement than the one that stands; empty when they are the same."""
    by = f"measured by {known.evaluated_by} before"
    if known.digest != found.digest:
        return f"another digest of that round was {by}"
    if known.heldout_loss != found.heldout_loss:
        return f"its held-out loss is {found.heldout_loss}, but {known.heldout_loss} was {by}"
    for name in sorted({*known.metrics, *found.metrics}):
        here, there = found.metrics.get(name, "missing"), known.metrics.get(name, "missing")
        if here != there:
            return f"its {name} is {here}, but {there} was {by}"
    return ""
