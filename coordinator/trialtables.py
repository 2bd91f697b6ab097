"""The tables of trials and of the public record, and what the store writes there and reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from immutables import Map
from sqlalchemy import BigInteger, Column, Connection, Float, Index, Row, String, Table, Text, delete, select

from coordinator import findings
from coordinator.records import Trust
from coordinator.tables import metadata, trust
from coordinator.trialrecords import (
    Answer,
    Campaign,
    CampaignEnded,
    CampaignStarted,
    Holding,
    Record,
    Recorded,
    TallyChanged,
    TrialDecision,
    Trials,
    Unit,
    UnitAnswered,
    UnitGiven,
    UnitKey,
    UnitSettled,
)
from swarm.trials.answers import Item, merged
from swarm.trials.chain import Entry

Put = Callable[[Connection, Any, dict[str, Any]], None]
All = Callable[[Connection, Any], Sequence[Row[Any]]]


def _run() -> Column[str]:
    return Column("run", String(64), primary_key=True, nullable=False)


campaigns = Table(
    "trial_campaigns",
    metadata,
    _run(),
    Column("id", String(16), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("suite", String(64), nullable=False),
    Column("suite_digest", String(64), nullable=False),
    Column("round", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("items", BigInteger, nullable=False),
    Column("unit_items", BigInteger, nullable=False),
    Column("seconds", Float(53), nullable=False),
    Column("tolerance", Float(53), nullable=False),
    Column("started_at", Float(53), nullable=False),
    Column("started_by", String(64), nullable=False),
    Column("ended_at", Float(53), nullable=False),
    Column("why", Text, nullable=False),
)

holdings = Table(
    "trial_holdings",
    metadata,
    _run(),
    Column("campaign", String(16), primary_key=True),
    Column("unit", BigInteger, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("invite", String(64), nullable=False),
    Column("deadline", Float(53), nullable=False),
)

# `items` is a JSON list of [index, value, weight, digest].
answers = Table(
    "trial_answers",
    metadata,
    _run(),
    Column("campaign", String(16), primary_key=True),
    Column("unit", BigInteger, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("invite", String(64), nullable=False),
    Column("at", Float(53), nullable=False),
    Column("items", Text, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("why", Text, nullable=False),
    Column("receipt", BigInteger, nullable=False),
    Index("trial_answers_by_key", "run", "key", "receipt"),
)

# What became of each key's answers: as the table of what spot checks said.
tallies = Table("trial_tallies", metadata, *(column._copy() for column in trust.columns))

# The public record. `hidden` is what the entry's commitment is of, as JSON; empty for none.
record = Table(
    "trial_record",
    metadata,
    _run(),
    Column("number", BigInteger, primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("hidden", Text, nullable=False),
)


def write(connection: Connection, decision: TrialDecision, run: str, put: Put) -> None:
    """Put what was decided into the tables; `put` inserts a row, or replaces the one with its key."""
    match decision:
        case CampaignStarted(found) | CampaignEnded(found):
            put(connection, campaigns, asdict(found))
        case UnitGiven(_, holding):
            put(connection, holdings, asdict(holding))
        case UnitAnswered(answer):
            put(connection, answers, _answer_row(answer))
        case UnitSettled(campaign, number, judged):
            _drop_holdings(connection, run, campaign.id, number)
            for answer in judged:
                put(connection, answers, _answer_row(answer))
        case TallyChanged(tally):
            put(connection, tallies, asdict(tally))
        case Recorded(entry, hidden):
            put(connection, record, {**asdict(entry), "hidden": hidden})


def _drop_holdings(connection: Connection, run: str, campaign: str, unit: int) -> None:
    which = (holdings.c.run == run, holdings.c.campaign == campaign, holdings.c.unit == unit)
    connection.execute(delete(holdings).where(*which))


def read_trials(connection: Connection, all_: All) -> Trials:
    """The campaigns, and the units of those that are open, as they were written; `all_` gives a table's rows."""
    known = {row.id: Campaign(**_values(row)) for row in all_(connection, campaigns)}
    given = [Holding(**_values(row)) for row in all_(connection, holdings)]
    said = [_answer(row) for row in all_(connection, answers)]
    asked = {one.invite: one.at for one in sorted(said, key=lambda one: one.at)}
    going = {id_ for id_, campaign in known.items() if not campaign.ended_at}
    return Trials(
        campaigns=known,
        units=Map(
            _units((one for one in given if one.campaign in going), (one for one in said if one.campaign in going))
        ),
        tallies=Map({row.key: Trust(**_values(row)) for row in all_(connection, tallies)}),
        heard=asked,
    )


def _units(given: Iterable[Holding], said: Iterable[Answer]) -> dict[UnitKey, Unit]:
    """Answers in the order in which they came; a holding whose key has answered is over."""
    found: dict[UnitKey, tuple[list[Holding], list[Answer]]] = {}
    for one in given:
        found.setdefault((one.campaign, one.unit), ([], []))[0].append(one)
    for answer in sorted(said, key=lambda one: (one.at, one.key)):
        found.setdefault((answer.campaign, answer.unit), ([], []))[1].append(answer)
    return {at: _unit(held, told) for at, (held, told) in found.items()}


def _unit(held: Sequence[Holding], told: Sequence[Answer]) -> Unit:
    if not any(one.verdict for one in told):
        answered = {one.key for one in told}
        return Unit(tuple(one for one in held if one.key not in answered), tuple(told))
    right = [one for one in told if one.verdict == "right"]
    lean = tuple(replace(one, items=()) for one in told)
    return Unit((), lean, True, merged([one.items for one in right]) if right else (), len(right))


def read_record(connection: Connection, all_: All) -> Record:
    """What the record says now."""
    found = Record()
    for row in all_(connection, record):
        found = findings.with_entry(found, _entry(row))
    return found


def entries(connection: Connection, run: str, after: int, most: int | None) -> list[tuple[Entry, str]]:
    """The entries after that number, with what their commitments are of."""
    chosen = select(record).where(record.c.run == run, record.c.number > after).order_by(record.c.number).limit(most)
    return [(_entry(row), row.hidden) for row in connection.execute(chosen)]


def decided(connection: Connection, run: str, key: str, after: int, most: int) -> list[Answer]:
    """A key's decided answers whose receipts come after that number, the oldest first."""
    which = (answers.c.run == run, answers.c.key == key, answers.c.receipt > after)
    chosen = select(answers).where(*which).order_by(answers.c.receipt).limit(most)
    return [_answer(row) for row in connection.execute(chosen)]


def _answer_row(answer: Answer) -> dict[str, Any]:
    items = [[item.index, item.value, item.weight, item.digest] for item in answer.items]
    return {**asdict(answer), "items": json.dumps(items)}


def _answer(row: Row[Any]) -> Answer:
    return Answer(**{**_values(row), "items": tuple(Item(*item) for item in json.loads(row.items))})


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.number, row.at, row.kind, row.body, row.previous, row.hash)


def _values(row: Row[Any]) -> dict[str, Any]:
    return {key: value for key, value in row._mapping.items() if key != "run"}
