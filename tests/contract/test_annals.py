"""What the report of a run is made of, on every store: true to the tables, bounded, and without members' names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator import decisions as d
from coordinator import events as e
from coordinator.annals import POINTS, REASONS, TEXTS, told
from coordinator.blobs import Blobs
from coordinator.engine import Engine
from coordinator.ledger import Entry
from coordinator.records import Evaluation, Member, Metrics, RoundReport, TextSample
from coordinator.store import SqlStore, open_store
from coordinator.tick import tick
from swarm.ranges import Range
from tests.histories import START, TERMS, History

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))]
LONG = replace(TERMS, total_rounds=1 << 40)
REPORT = RoundReport("key", 0, Metrics("d", 8, 8, 1, 8, 2.0, 1.0, 0.5, 100, 200, 9.0))


@pytest.fixture
def store(database: str, tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(TERMS.run, tmp_path, database)
    opened.write([d.CheckpointAccepted(START)], 50.0)
    yield opened
    opened.close()


def filed(round_: int, member: str = "a", **changes: object) -> d.ReportFiled:
    """A report of so many samples as its position has, all counted."""
    metrics = replace(REPORT.metrics, **changes)  # type: ignore[arg-type]
    report = replace(REPORT, key=f"{member}{round_}", round=round_, metrics=metrics)
    entry = Entry(Range(8 * round_, 8 * round_ + 8), "counted", round_, member, "1-x", "")
    return d.ReportFiled(member, report, (entry,), voted=True, holds=round_ + 1, agreed=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sums_are_those_of_the_ledger(store: SqlStore, seed: int) -> None:
    history = History(seed, state=store.load(TERMS), bans=0.05)
    for _, made, _, now in history.steps(200):
        store.write(made, now)
    found, entries = told(store, history.state), store.ledger(0, None)
    for state in ("counted", "expired", "rejected"):
        total = sum(item.samples for item in found.totals if item.state == state)
        assert total == sum(len(entry.range) for entry in entries if entry.state == state)
    covered = {number for span in found.spans for number in range(span.first, span.last + 1)}
    counted = sum(len(entry.range) for entry in entries if entry.state == "counted" and entry.round in covered)
    assert sum(span.samples * span.rounds for span in found.spans) == counted
    assert found.begun_at == 50.0 < found.newest_at <= history.now
    assert found.banned == len(history.state.bans)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_reason_of_the_coordinators_is_told_apart(store: SqlStore, seed: int) -> None:
    """The stories' members drop samples "late by 4 s", and names are in the reason of what a member left behind."""
    history = History(seed, state=store.load(TERMS))
    for _, made, _, now in history.steps(200):
        store.write(made, now)
    begins = tuple(REASONS)
    for entry in store.ledger(0, None):
        own = entry.state == "rejected" and entry.why == "late by 4 s"
        left = entry.state == "expired" and entry.why.endswith(" left")
        assert not entry.why or own or left or entry.why.startswith(begins), entry
    assert not any("late by" in item.why for item in told(store, history.state).totals)


def test_a_long_run_is_thinned_and_nothing_of_it_is_lost(store: SqlStore) -> None:
    rounds = 5 * POINTS + 7
    store.write([filed(number, loss=float(number)) for number in range(rounds)], 60.0)
    spans = told(store, store.load(LONG)).spans
    assert len(spans) <= POINTS
    assert (spans[0].first, spans[-1].last, sum(span.rounds for span in spans)) == (0, rounds - 1, rounds)
    assert [spans[0].loss, spans[-1].loss] == [
        (span.first + span.last) / 2 for span in (spans[0], spans[-1])
    ]  # the mean of its rounds
    assert {span.samples for span in spans} == {8.0}
    assert sum(span.bytes_sent for span in spans) == 100 * rounds


def test_absurd_words_of_one_member_spoil_no_sum(store: SqlStore) -> None:
    absurd = {"own_samples": 1 << 62, "loss": math.nan, "compute_seconds": 1e300, "bytes_sent": (1 << 63) - 1}
    liars = [filed(3, f"liar{number}", **absurd) for number in range(3)]
    store.write([filed(3, loss=2.5), *(replace(liar, entries=()) for liar in liars)], 60.0)
    [span] = told(store, store.load(LONG)).spans
    assert (span.loss, span.has_loss, span.members, span.samples) == (2.5, True, 4.0, 8.0)
    assert (span.bytes_sent, span.compute_seconds) == (100.0, 0.25)


def test_a_round_without_a_finite_loss_has_none(store: SqlStore) -> None:
    store.write([filed(0, loss=math.nan)], 60.0)
    [span] = told(store, store.load(LONG)).spans
    assert not span.has_loss


def test_what_happened_is_told_by_kind_and_names_nobody(store: SqlStore) -> None:
    state = store.load(TERMS)
    joins = [e.Join(who, who.encode() * 32, "Mallory <script>", "9.9") for who in ("a", "b")]
    for number, event in enumerate([e.Resumed(seconds=0.0), *joins, e.Leave("a", "Mallory was here"), None]):
        now = 60.0 + 600.0 * (event is None) + number  # at the end b has been silent for long
        state, made = tick(state, [event] if event else [], now, seed=1)
        store.write(made, now)
    store.write(tick(state, [e.Resumed(seconds=75.0)], 800.0, seed=2)[1], 800.0)
    found = told(store, state)
    assert {key: found.decisions[key] for key in ("MemberJoined", "MemberLeft", "MemberLost", "CoordinatorBack")} == {
        "MemberJoined": 2, "MemberLeft": 1, "MemberLost": 1, "CoordinatorBack": 2
    }  # fmt: skip
    assert [item.text for item in found.happenings] == [
        "The coordinator was started.",
        "The coordinator had stood still, or its clock was set, by 75 s.",
    ]
    assert "Mallory" not in str(found)
    assert not found.versions  # nothing was counted for them


def test_a_start_that_took_long_is_one_start_and_a_standstill_is_one(store: SqlStore, tmp_path: Path) -> None:
    now = [100.0]
    engine = Engine(store.load(TERMS), store, Blobs(tmp_path), clock=lambda: now[0], absence=5.0)
    for later, event in ((60.0, e.Resumed(seconds=0.0)), (4.0, None), (75.0, None), (1.0, None)):
        now[0] += later
        engine.apply(event)
    assert [(item.at, item.kind) for item in told(store, engine.state).happenings] == [
        (160.0, "CoordinatorBack"),
        (239.0, "CoordinatorBack"),
    ]


def test_texts_are_of_the_first_the_newest_and_some_between(store: SqlStore) -> None:
    texts = (TextSample("The ", "cat"),)
    evaluations = {number: Evaluation(number, "d", 2.0, {}, "a", texts) for number in range(0, 200, 2)}
    state = replace(store.load(TERMS), evaluations={**evaluations, 400: Evaluation(400, "d", 2.0)})
    found = told(store, state).evaluations
    assert len(found) == TEXTS
    assert (found[0].round, found[-1].round) == (0, 198)
    assert all(item.samples for item in found)


def test_versions_are_of_members_that_were_counted(store: SqlStore) -> None:
    seen = [Member(who, who, b"", version, 60.0) for who, version in (("a", "1.2"), ("b", "1.2"), ("c", "\x1b[2J"))]
    store.write(
        [*(d.MemberJoined(member, again=False) for member in seen), filed(0), filed(1, "b"), filed(2, "c")], 60.0
    )
    assert dict(told(store, store.load(TERMS)).versions) == {"1.2": 2, "[2J": 1}


def test_a_run_begins_with_its_first_decision_that_has_a_time(store: SqlStore) -> None:
    store.write([d.CheckpointAccepted(replace(START, round=1))], 0.0)
    assert told(store, store.load(TERMS)).begun_at == 50.0


def test_an_empty_run_has_a_history(store: SqlStore) -> None:
    found = told(store, store.load(TERMS))
    assert (list(found.spans), list(found.totals), found.begun_at) == ([], [], 50.0)
    assert told(store, store.load(TERMS)) == found
