"""What is kept of rounds and nights, on each database: told once, again after the run went back, over restarts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator import decisions as d
from coordinator.ledger import Entry
from coordinator.logbook import Line, Logbook, Work
from coordinator.records import IssuedInvite, Metrics
from coordinator.rounds import Poll
from coordinator.state import State
from coordinator.store import SqlStore, open_store
from swarm.passes import Role
from swarm.ranges import LAST, Range
from tests.histories import fresh, report

NOON = 1_700_000_000.0 // 86_400 * 86_400 + 43_200
Opener = Callable[[], tuple[SqlStore, Logbook]]


@pytest.fixture
def opener(database: str, tmp_path: Path) -> Iterator[Opener]:
    opened: list[SqlStore] = []

    def make() -> tuple[SqlStore, Logbook]:
        store = open_store("law", tmp_path, database)
        opened.append(store)
        logbook = Logbook("law", store.database, clock=lambda: NOON + 1e6)
        logbook.create()
        return store, logbook

    yield make
    for store in opened:
        store.close()


def metrics(digest: str = "d", **values: float) -> Metrics:
    usual = {"digest": digest, "own_samples": 4, "finished_at": NOON}
    return replace(report("", 0, ()).metrics, **{**usual, **values})  # type: ignore[arg-type]


def poll(*members: str, **values: float) -> Poll:
    made = Poll()
    for member in members:
        made = made.plus(member, metrics(**values))  # type: ignore[arg-type]
    return made


def test_a_round_that_is_told_again_replaces_it_and_all_that_followed(opener: Opener) -> None:
    _, logbook = opener()
    for number in range(6):
        logbook.keep(poll("anna", "ben").summary(number))
    logbook.keep(poll("anna", loss=0.5).summary(3))
    _, again = opener()
    kept = list(again.rounds())
    assert [(found.round, found.loss, found.members) for found in kept[2:]] == [(2, 1.0, 2), (3, 0.5, 2)]
    assert [found.round for found in again.rounds(first=2)] == [2, 3]
    assert kept[0].bytes_sent == 2


def test_nights_are_counted_from_noon_to_noon_for_a_key_in_all_its_seats(opener: Opener) -> None:
    _, logbook = opener()
    for number, hours in enumerate((-1, 9, 20, 30)):  # of noon: the night before, an evening, its morning, the next one
        at = NOON + 3600 * hours
        logbook.keep(poll("k", "k-1", finished_at=at, compute_seconds=60.0, exchange_seconds=1e9).summary(number))
    [(key, work)] = logbook.works().items()
    assert (key, work.nights, work.rounds) == ("k", 3, 8)
    assert work.seconds == 2 * 3600 * (1 + 10 + 11 + 10), "nobody worked for longer than the round took"


def test_a_loss_that_is_no_number_is_kept_as_none_and_clocks_of_liars_count_nothing(opener: Opener) -> None:
    _, logbook = opener()
    liars = {"finished_at": 1e300, "loss": math.nan, "compute_seconds": math.inf, "exchange_seconds": math.nan}
    logbook.keep(poll("anna", "ben", **liars, bytes_sent=LAST).summary(0))
    [found] = logbook.rounds()
    assert (found.loss, found.at) == (None, NOON + 1e6)
    assert (found.compute_seconds, found.exchange_seconds, found.bytes_sent) == (0.0, 0.0, LAST)
    assert logbook.works()["anna"] == Work(1, 1, 0.0)


def at_round(number: int, digest: str = "d") -> State:
    votes = fresh().votes
    for made in range(number):
        votes = votes.set(made, Poll().plus("anna", metrics(digest)))
    return replace(fresh(), votes=votes, reached=number)


def test_after_a_restart_it_knows_what_was_told(opener: Opener) -> None:
    _, logbook = opener()
    assert logbook.told(at_round(3)) == 0, "a run of an earlier version: all that is known is told"
    for number in range(4):
        logbook.keep(poll("anna").summary(number))
    _, again = opener()
    assert again.told(at_round(4)) == 4
    assert again.told(at_round(6)) == 4
    assert again.told(at_round(2)) == 2, "the run went back"
    assert again.told(at_round(4, "another")) == 0, "it went back, and made them again"


def test_the_account_of_a_member_and_decisions_for_everybody(opener: Opener) -> None:
    store, logbook = opener()
    kept = [
        Entry(Range(0, 3), "counted", 1, "anna", "l1", ""),
        Entry(Range(3, 5), "rejected", 2, "anna-1", "l2", "late"),
    ]
    other = Entry(Range(5, 9), "counted", 2, "ben", "l3", "")
    filed = [
        d.ReportFiled(e.member, report(f"k{n}", e.round, ()), (e,), False, 0) for n, e in enumerate([*kept, other])
    ]
    invite = IssuedInvite("0" * 64, Role.VOLUNTEER, NOON, note="for Anna's cousin")
    store.write([*filed, d.InviteMade(invite), d.RoundDenied(3, "a part")], NOON)
    assert logbook.account(["anna", "anna-1"], 10) == [Line(2, "rejected", 2, "late"), Line(1, "counted", 3, "")]
    assert logbook.account(["anna", "anna-1"], 1) == [Line(2, "rejected", 2, "late")]
    said = logbook.decisions(10)
    assert [at for at, _ in said] == [NOON, NOON]
    assert not any("cousin" in text for _, text in said)
    assert any("cousin" in text for text in store.recent_decisions()), "members and maintainers read all of it"
