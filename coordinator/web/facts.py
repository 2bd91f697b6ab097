"""What the page shows, as values that JSON knows. Pure; no addresses, no invites' notes, nothing that a member did not
choose to be called by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from coordinator import trust
from coordinator.logbook import Round, Work
from coordinator.records import Evaluation, Member
from coordinator.state import State
from coordinator.web.badges import badges
from coordinator.web.curves import MOST, Span
from swarm.runspec import RunSpec
from swarm.sections import is_folder
from swarm.thinning import evenly

MEMBERS, LEADERS, EVALUATIONS, RECENT = 200, 50, 20, 60  # of each that are shown, at most

Facts = dict[str, Any]


def what(spec: RunSpec) -> Facts:
    """What is trained, and why; of paths on the coordinator's machine only the last name."""
    run, training = spec.run, spec.training
    return {
        "name": run.name,
        "title": run.title or run.name,
        "description": run.description,
        "maintainer": run.maintainer,
        "license": run.license,
        "model": _public(spec.model.source),
        "method": spec.model.method,
        "data": _public(spec.data.source),
        "sequence_length": spec.data.sequence_length,
        "mode": training.mode,
        "target_batch_size": training.target_batch_size,
    }


def now(state: State, recent: Sequence[Round], moment: float) -> Facts:
    """What changes from second to second."""
    epoch, done = divmod(state.global_samples, state.terms.epoch_samples)
    newest = state.evaluations.get(max(state.evaluations, default=-1))
    return {
        "at": round(moment, 1),
        "round": state.round,
        "total_rounds": state.terms.total_rounds,
        "finished": state.finished,
        "halted": state.halted,
        "stuck": trust.stuck(state),
        "steered": state.steering.paused or state.steering.finished,
        "members": state.tempo.members,
        "rate": number(state.tempo.samples_per_second),
        "global_samples": state.global_samples,
        "epoch": epoch,
        "epoch_fraction": number(done / state.terms.epoch_samples),
        "heldout": [newest.round, number(newest.heldout_loss)] if newest else None,
        "rounds": [timeline(found) for found in recent],
    }


def timeline(found: Round) -> list[Any]:
    """Number, end, loss, samples, members, seconds of computing and exchange, bytes sent and received, agreement."""
    seconds = (number(found.compute_seconds), number(found.exchange_seconds))
    traffic = (found.bytes_sent, found.bytes_received)
    loss = None if found.loss is None else number(found.loss)
    return [found.round, round(found.at, 1), loss, found.samples, found.members, *seconds, *traffic, found.agreed]


def curves(spans: Sequence[Span]) -> Facts:
    """The history by columns: shorter than by rows."""
    kept = [span.losses > 0 for span in spans]
    return {
        "round": [span.last for span in spans],
        "at": [round(span.at) for span in spans],
        "rounds": [span.rounds for span in spans],
        "loss": [number(span.loss) if there else None for span, there in zip(spans, kept, strict=True)],
        "low": [number(span.low) if there else None for span, there in zip(spans, kept, strict=True)],
        "high": [number(span.high) if there else None for span, there in zip(spans, kept, strict=True)],
        "samples": [span.samples for span in spans],
        "members": [number(span.members / span.rounds) for span in spans],
        "exchange": [number(span.exchange_seconds / span.rounds) for span in spans],
        "sent": [span.bytes_sent for span in spans],
        "received": [span.bytes_received for span in spans],
    }


def heldout(state: State) -> list[list[Any]]:
    """Round and held-out loss of every evaluation, or of evenly many of them."""
    every = [state.evaluations[key] for key in sorted(state.evaluations)]
    return [[found.round, number(found.heldout_loss)] for found in evenly(every, MOST)]


def evaluations(state: State) -> list[Facts]:
    """The newest ones with their metrics, and with whatever else was measured."""
    newest = sorted(state.evaluations, reverse=True)[:EVALUATIONS]
    return [_evaluation(state, state.evaluations[key]) for key in newest]


def checkpoints(state: State) -> list[Facts]:
    """The kept ones, the newest first."""
    kept = sorted(state.checkpoints.values(), key=lambda item: -item.round)
    wanted = ("round", "digest", "sha256", "size", "global_samples", "created_at", "approved_why")
    return [
        {
            **{name: getattr(item, name) for name in wanted},
            "by": _name(state, item.uploaded_by),
            "approved": bool(item.approved_by),
        }
        for item in kept
    ]


def members(state: State, works: Mapping[str, Work]) -> list[Facts]:
    """Who is here, or was: those who are first, by what counted."""
    order = sorted(state.members.values(), key=lambda it: (not it.live, -it.counted, it.id))
    return [_member(member, works.get(member.key, Work())) for member in order[:MEMBERS]]


def leaders(state: State, works: Mapping[str, Work]) -> list[Facts]:
    """Volunteers, in all their seats, by counted samples."""
    counted: dict[str, int] = {}
    for member in state.members.values():
        counted[member.key] = counted.get(member.key, 0) + max(0, member.counted)
    first = sorted((key for key in counted if counted[key]), key=lambda key: (-counted[key], key))[:LEADERS]
    return [
        {"name": _name(state, key), "key": key[:8], "counted": counted[key], **credit(works.get(key, Work()))}
        for key in first
    ]


def credit(work: Work) -> Facts:
    """What a volunteer is honoured for."""
    return {
        "rounds": work.rounds,
        "nights": work.nights,
        "hours": number(work.seconds / 3600),
        "badges": badges(work),
    }


def number(value: float) -> float | None:
    """With five digits; None for what is no number."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _member(member: Member, work: Work) -> Facts:
    pulse = member.pulse
    return {
        "name": member.name,
        "key": member.key[:8],
        "live": member.live,
        "phase": pulse.phase if member.live else "",
        "rate": number(pulse.samples_per_second) if member.live else 0,
        "counted": max(0, member.counted),
        "rounds": work.rounds,
        "nights": work.nights,
    }


def _evaluation(state: State, found: Evaluation) -> Facts:
    measured = {name: number(value) for name, value in sorted(found.metrics.items())}
    by = _name(state, found.evaluated_by)
    return {**asdict(found), "heldout_loss": number(found.heldout_loss), "metrics": measured, "evaluated_by": by}


def _name(state: State, member: str) -> str:
    """What the member, or any seat of the key, calls itself."""
    found = state.members.get(member)
    if found is None:
        found = next((seat for seat in state.members.values() if seat.key == member), None)
    return found.name if found else ""


def _public(source: str) -> str:
    """Of a file or folder its own name; a preset, or a name of the hub, as it is."""
    own = ":" not in source and (is_folder(source) or bool(PurePath(source).suffix))
    return PurePath(source).name if own else source
