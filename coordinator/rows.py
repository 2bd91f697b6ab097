"""Between rows of the store's tables and the coordinator's records. Values only."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Row

from coordinator import decisions as d
from coordinator.kinds import kind_of
from coordinator.ledger import Entry, Lease, Return
from coordinator.records import (
    Absence,
    Ban,
    Checkpoint,
    Evaluation,
    IssuedInvite,
    Member,
    Metrics,
    RollBack,
    TextSample,
    Trust,
)
from coordinator.steering import Course, Steering
from swarm.passes import Role
from swarm.ranges import Range, without

_NEVER_AWAY = Absence(0, 0.0, 0.0)


def member_row(member: Member) -> dict[str, Any]:
    kept = (
        "id",
        "name",
        "public_key",
        "version",
        "credit",
        "last_seen",
        "live",
        "holds",
        "first_lease",
        "counted",
        "rejected",
        "invite",
        "session",
        "since",
    )
    return {key: getattr(member, key) for key in kept} | away_row(member.away)


def away_row(absence: Absence | None) -> dict[str, Any]:
    """An absence in a member's row."""
    return {f"away_{key}": value for key, value in asdict(absence or _NEVER_AWAY).items()}


def _values(row: Row[Any]) -> dict[str, Any]:
    """All but the run's name."""
    return {key: value for key, value in row._mapping.items() if key != "run"}


def log_row(decision: d.Decision, now: float) -> dict[str, Any]:
    """What the log says of the decision; empty for routine."""
    return {"at": now, "text": sentence, "kind": kind_of(decision)} if (sentence := str(decision)) else {}


def member(row: Row[Any]) -> Member:
    values = _values(row)
    absence = Absence(**{field.name: values.pop(f"away_{field.name}") for field in fields(Absence)})
    return Member(**values, away=absence if absence.round else None, heard=False)


def invite(row: Row[Any]) -> IssuedInvite:
    return IssuedInvite(**{**_values(row), "role": Role(row.role)})


def ban(row: Row[Any]) -> Ban:
    return Ban(**_values(row))


def trust(row: Row[Any]) -> Trust:
    return Trust(**_values(row))


def steering(found: Iterable[Row[Any]]) -> Steering:
    """The one row, if there is one."""
    for row in found:
        return Steering(**{**_values(row), "course": Course(row.course)})
    return Steering()


def lease_row(lease: Lease) -> dict[str, Any]:
    return {
        "id": lease.id,
        "number": lease.number,
        "member": lease.member,
        "start": lease.range.start,
        "stop": lease.range.stop,
        "deadline": lease.deadline,
        "open": True,
    }


def lease(row: Row[Any], settled: list[Range]) -> Lease:
    """The lease; an open one still holds what the ledger does not mention."""
    whole = Range(row.start, row.stop)
    left = without([whole] if row.open else [], settled)
    return Lease(row.id, row.number, row.member, whole, tuple(left), row.deadline)


def entry(row: Row[Any]) -> Entry:
    return Entry(Range(row.start, row.stop), row.state, row.round, row.member, row.lease, row.why)


def return_row(back: Return) -> dict[str, Any]:
    return {"round": back.round, "first_lease": back.first_lease, "spared": json.dumps(sorted(back.spared))}


def return_(row: Row[Any]) -> Return:
    return Return(row.round, row.first_lease, frozenset(json.loads(row.spared)))


def rollback(row: Row[Any]) -> RollBack:
    return RollBack(**_values(row))


def checkpoint(row: Row[Any]) -> Checkpoint:
    return Checkpoint(**_values(row))


def evaluation_row(evaluation: Evaluation) -> dict[str, Any]:
    samples = json.dumps([[sample.prompt, sample.text] for sample in evaluation.samples], ensure_ascii=False)
    metrics = json.dumps(dict(evaluation.metrics), sort_keys=True)
    return {**asdict(evaluation), "metrics": metrics, "samples": samples}


def evaluation(row: Row[Any]) -> Evaluation:
    samples = tuple(TextSample(*pair) for pair in json.loads(row.samples))
    return Evaluation(row.round, row.digest, row.heldout_loss, json.loads(row.metrics), row.evaluated_by, samples)


def vote(row: Row[Any]) -> Metrics:
    fields = {key: value for key, value in row._mapping.items() if key in Metrics.__dataclass_fields__}
    return Metrics(**{**fields, "loss": _number(row.loss)})


def _number(value: float | None) -> float:
    """SQLite keeps NaN, the loss of a run that diverged, as NULL."""
    return math.nan if value is None else value
