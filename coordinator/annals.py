"""What became of a run since it began, for its report: sums over the tables, made by the database.

A report is for everybody, so names of members are in none of it, and of their own words only the texts of evaluations,
and the fault for which the run went back. The reasons of the ledger are told apart by how they begin; one that is not
known here is somebody's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Float, Select, Table, and_, case, cast, func, select

from coordinator import translate
from coordinator.state import State
from coordinator.store import Store
from coordinator.tables import entries, log, members, votes
from swarm.proto import coordinator_pb2 as pb
from swarm.texts import line
from swarm.thinning import evenly

POINTS = 500
TEXTS = 24  # evaluations that are told with their texts
_HAPPENINGS = 100
_VERSIONS = 20

# How the coordinator's own reasons begin, and how a report says them.
REASONS = {
    "late, but still free": "late, but nobody else had been lent them",
    "its time ran out": "the lease's time ran out",
    "the run diverged": "the run had diverged",
    "undone": "undone: the run went back",
    "not in the copy": "not in the copy that was restored",
    "the run went back": "of a round that was undone",
    "another part of the swarm": "another part of the swarm made the round",
    "no such lease": "not leased",
    "outside the lease": "outside the lease",
    "already counted": "already counted",
    "leased again": "leased again to another member",
}
_ELSE = {"expired": "the member left", "rejected": "the member itself dropped them"}

# What befalls the whole run; no sentence of these names a member.
_OF_THE_RUN = ("CoordinatorBack", "WentBack", "RolledBack", "RoundAdvanced")

_MOST_SECONDS = 1e6  # of a round: members say anything, and one number must not spoil a sum
_MOST_BYTES = 1e15
_MOST_LOSS = 1e6


def told(store: Store, state: State) -> pb.History:
    """Raises DiskError, SwarmError."""
    run = state.terms.run
    with store.reading() as connection:
        timed = _of(run, log, func.min(log.c.at), func.max(log.c.at)).where(log.c.at > 0)  # what it began with has none
        begun, newest = connection.execute(timed).one()
        return pb.History(
            begun_at=begun or 0.0,
            newest_at=newest or 0.0,
            spans=_spans(connection, run, state.round),
            totals=_totals(connection, run),
            decisions=_counts(connection, run, log, log.c.kind),
            happenings=_happenings(connection, run),
            evaluations=_evaluations(state),
            banned=len(state.bans),
            versions=_versions(connection, run),
        )


def _of(run: str, table: Table, *columns: Any) -> Select[Any]:
    return select(*columns).where(table.c.run == run)


def _spans(connection: Connection, run: str, end: int) -> Iterator[pb.Span]:
    """Rounds before `end`, so many of them together that there are `POINTS` at most."""
    ends = _of(run, votes, func.min(votes.c.round), func.max(votes.c.round)).where(votes.c.round < end)
    first, last = connection.execute(ends).one()
    if last is None:
        return
    width = (last - first) // POINTS + 1
    counted = dict(_counted(connection, run, first, last, width))
    for row in connection.execute(_reported(run, first, width).where(votes.c.round < end)):
        yield _span(row, counted.get(row.number, 0.0))


def _counted(connection: Connection, run: str, first: int, last: int, width: int) -> Iterator[tuple[int, float]]:
    """Samples by the number of the span, as the ledger counts them."""
    number = ((entries.c.round - first) // width).label("number")
    asked = _of(run, entries, number, _length().label("samples")).where(
        entries.c.state == "counted", entries.c.round >= first, entries.c.round <= last
    )
    for row in connection.execute(asked.group_by(number)):
        yield row.number, row.samples


def _reported(run: str, first: int, width: int) -> Select[Any]:
    number, of = ((votes.c.round - first) // width).label("number"), votes.c
    finite = and_(of.loss >= 0.0, of.loss <= _MOST_LOSS)  # NaN is neither
    weight = case((finite, cast(of.own_samples, Float)), else_=0.0)
    return (
        _of(
            run,
            votes,
            number,
            func.min(of.round).label("first"),
            func.max(of.round).label("last"),
            func.count(of.round.distinct()).label("rounds"),
            func.count().label("reports"),
            func.sum(weight).label("weight"),
            func.sum(weight * case((finite, of.loss), else_=0.0)).label("loss"),
            func.sum(_bounded(of.compute_seconds, _MOST_SECONDS)).label("compute"),
            func.sum(_bounded(of.exchange_seconds, _MOST_SECONDS)).label("exchange"),
            func.sum(_bounded(of.bytes_sent, _MOST_BYTES)).label("sent"),
        )
        .group_by(number)
        .order_by(number)
    )


def _span(row: Any, samples: float) -> pb.Span:
    return pb.Span(
        first=row.first,
        last=row.last,
        rounds=row.rounds,
        loss=row.loss / row.weight if row.weight else 0.0,
        has_loss=row.weight > 0,
        members=row.reports / row.rounds,
        samples=samples / row.rounds,
        compute_seconds=row.compute / row.reports,
        exchange_seconds=row.exchange / row.reports,
        bytes_sent=row.sent,
        computed_seconds=row.compute,
    )


def _bounded(column: Any, most: float) -> Any:
    """As a float: sums of integers can overflow."""
    value = cast(column, Float)
    return case((and_(value >= 0.0, value <= most), value), else_=0.0)


def _length() -> Any:
    return func.sum(cast(entries.c.stop - entries.c.start, Float))


def _totals(connection: Connection, run: str) -> list[pb.LedgerTotal]:
    known = [(entries.c.why.like(f"{begin}%"), says) for begin, says in REASONS.items()]
    others = [(and_(entries.c.state == state, entries.c.why != ""), says) for state, says in _ELSE.items()]
    why, samples = case(*known, *others, else_="").label("why"), _length().label("samples")
    found = connection.execute(_of(run, entries, entries.c.state, why, samples).group_by(entries.c.state, why))
    ordered = sorted(found, key=lambda row: (-row.samples, row.state, row.why))
    return [pb.LedgerTotal(state=row.state, why=row.why, samples=row.samples) for row in ordered]


def _counts(connection: Connection, run: str, table: Table, column: Any) -> dict[str, int]:
    """How many rows have each value."""
    found = connection.execute(_of(run, table, column.label("value"), func.count().label("number")).group_by(column))
    return {row.value: row.number for row in found}


def _versions(connection: Connection, run: str) -> dict[str, int]:
    """Of members that were counted for something: who only came by has not shaped the run."""
    counted = _of(run, members, members.c.version, func.count().label("number")).where(members.c.counted > 0)
    most = counted.group_by(members.c.version).order_by(func.count().desc(), members.c.version).limit(_VERSIONS)
    return {line(row.version, 32): row.number for row in connection.execute(most)}


def _happenings(connection: Connection, run: str) -> list[pb.Happening]:
    newest = _of(run, log, log).where(log.c.kind.in_(_OF_THE_RUN)).order_by(log.c.number.desc()).limit(_HAPPENINGS)
    found = reversed(connection.execute(newest).all())
    return [pb.Happening(at=row.at, kind=row.kind, text=row.text) for row in found]


def _evaluations(state: State) -> list[pb.Evaluation]:
    with_texts = [key for key in sorted(state.evaluations) if state.evaluations[key].samples]
    return [translate.evaluation_message(state.evaluations[key], told=True) for key in evenly(with_texts, TEXTS)]
