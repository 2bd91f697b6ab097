"""One suite for every store: what a tick decided is there after a restart, whatever happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from coordinator import decisions as d
from coordinator import events as e
from coordinator import trust
from coordinator.bans import barred
from coordinator.invariants import of_ledger, reports
from coordinator.records import Absence, Ban, IssuedInvite, Pulse, Spoke, Standing, Terms
from coordinator.state import State
from coordinator.steering import Course, Steering
from coordinator.store import SqlStore, open_store
from coordinator.tick import tick
from swarm.checks import failed
from swarm.errors import SwarmError
from swarm.passes import Role
from swarm.ranges import Range
from tests.histories import START, TERMS, History, report

Opener = Callable[[], SqlStore]


@pytest.fixture
def opener(database: str, tmp_path: Path) -> Iterator[Opener]:
    opened: list[SqlStore] = []

    def open_() -> SqlStore:
        opened.append(open_store(TERMS.run, tmp_path, database))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


def facts(state: State) -> dict[str, object]:
    """What must survive; deadlines, pulses and the time of the last heartbeat need not."""
    ledger = state.ledger
    oldest = sorted(state.checkpoints)[-state.terms.keep_checkpoints :][0]
    since = state.latest.round if state.rollbacks else oldest
    return {
        "free": ledger.free,
        "leases": {key: (item.member, item.range, item.left) for key, item in ledger.leases.items()},
        "counted": {  # the run goes back to one of the kept checkpoints, no further
            key: dict(group) for key, group in ledger.counted.items() if key >= since
        },
        "returns": frozenset(ledger.returns),
        "rollbacks": state.rollbacks,
        "next": ledger.next_number,
        "members": {
            key: replace(m, last_seen=0.0, heard=True, pulse=Pulse(), lineage=0, left="", spoke=Spoke(), paid=-1)
            for key, m in state.members.items()
        },
        "votes": {key: {who: vote.digest for who, vote in cast.votes.items()} for key, cast in state.votes.items()},
        "checkpoints": state.checkpoints,
        "brought": state.brought,
        "evaluations": state.evaluations,
        "invites": state.invites,
        "bans": state.bans,
        "trust": state.trust,
        "grants": state.grants,
        "round": state.round,
        "samples": state.global_samples,
    }


def begun(store: SqlStore, terms: Terms = TERMS) -> State:
    store.write([d.CheckpointAccepted(START)], 0.0)
    return store.load(terms)


@pytest.mark.parametrize("seed", range(6))
def test_the_loaded_state_is_the_state_after_every_tick(opener: Opener, seed: int) -> None:
    store = opener()
    history = History(seed, state=begun(store), bans=0.05)
    for number, (_, made, after, now) in enumerate(history.steps(120)):
        store.write(made, now)
        if number % 7 == 0:
            assert facts(store.load(TERMS)) == facts(after)
    assert facts(opener().load(TERMS)) == facts(history.state)
    assert failed(of_ledger(store.load(TERMS), store.ledger(0, None))) == []
    assert failed(reports(*store.filed(), store.load(TERMS).votes)) == []


def test_receipts_ledger_and_log_are_kept(opener: Opener) -> None:
    store = opener()
    history = History(3, state=begun(store))
    filed: list[d.ReportFiled] = []
    for _, made, _, now in history.steps(150):
        store.write(made, now)
        filed += [item for item in made if isinstance(item, d.ReportFiled)]
    kept = store.receipts([item.report.key for item in filed])
    assert set(kept) == {item.report.key for item in filed}
    assert {key: len(value) for key, value in kept.items()} == {i.report.key: len(i.receipts) for i in filed}
    found = store.ledger(0, None)
    assert sum(len(entry.range) for entry in found if entry.state == "counted") == history.state.ledger.counted_samples
    assert all(entry.round < 3 for entry in store.ledger(0, 3))
    assert store.recent_decisions()
    assert store.receipts(["unknown"]) == {}


def test_a_write_that_fails_in_the_middle_leaves_nothing(opener: Opener) -> None:
    store = opener()
    before = facts(begun(store))
    history = History(1, state=store.load(TERMS))
    made = [item for _, decisions, _, _ in history.steps(20) for item in decisions]
    broken = d.LeaseGranted(made_lease(None))  # type: ignore[arg-type]
    with pytest.raises(SwarmError):
        store.write([*made, broken], 1.0)
    assert facts(store.load(TERMS)) == before


def made_lease(member: object) -> object:
    from coordinator.ledger import Lease

    return Lease("x", 1, member, Range(0, 1), (Range(0, 1),), 0.0)  # type: ignore[arg-type]


def test_invites_and_who_came_with_them_are_kept(opener: Opener) -> None:
    store = opener()
    made_at = 1.7e9 + 1 / 3
    invites = [
        IssuedInvite(f"{number}" * 64, role, made_at, made_at + 86_400 * number, note="für Anna")
        for number, role in enumerate(Role)
    ]
    joining = e.Join("anna", b"k" * 32, "anna", "1", invite=invites[0].id, session="s1")
    events = [*map(e.MakeInvite, invites), joining, e.RevokeInvite(invites[1].id)]
    state, made = tick(begun(store), events, made_at, 1)
    store.write(made, made_at)
    loaded = opener().load(TERMS)
    assert facts(loaded) == facts(state)
    assert loaded.invites[invites[1].id].revoked_at == made_at
    assert loaded.members["anna"].invite == invites[0].id


def test_bans_and_whom_members_must_drop_are_kept(opener: Opener) -> None:
    store, now = opener(), 1.7e9 + 1 / 3
    members = [e.Join(name, bytes(32), name, "1") for name in ("anna", "anna-1", "ben", "carl")]
    banned = [e.Ban("anna", "anna", "sendet Müll"), e.Ban("carl", "carl", "lies"), e.Unban("carl")]
    state, made = tick(begun(store), [*members, *banned], now, 1)
    store.write(made, now)
    loaded = opener().load(TERMS)
    assert facts(loaded) == facts(state)
    assert loaded.bans["anna"] == Ban("anna", "anna", "sendet Müll", now)
    assert barred(loaded, now) == barred(state, now) == ["anna", "anna-1"]


def test_who_was_away_is_known_to_a_coordinator_that_starts_anew(opener: Opener) -> None:
    """Two of three said goodbye and are back; it starts anew before it hears of the round that the third made alone."""

    def play(state: State, now: float, *events: e.Event) -> State:
        state, made = tick(state, events, now, 1)
        opener().write(made, now)
        return opener().load(TERMS)

    def said(who: str, round_: int) -> e.Report:
        return e.Report(who, (report(f"{who}/{round_}", round_, ()),))

    joins = [e.Join(who, who.encode() * 16, who, "1") for who in "abc"]
    state = play(begun(opener()), 1.7e9, *joins, *(said(who, 0) for who in "abc"))
    state = play(state, 1.7e9 + 1 / 3, *(replace(join, left_in=1) for join in joins[:2]))
    assert state.members["a"].away == Absence(1, 1.7e9, 1.7e9 + 1 / 3)
    state = play(state, 1.7e9 + 1, said("c", 1))
    assert state.round == 2
    state = play(state, 1.7e9 + 2, said("a", 2), said("c", 2))
    assert [state.members[who].away is None for who in "abc"] == [True, False, True], "a takes part again"


def test_what_checks_said_of_keys_and_the_limits_of_invites_are_kept(opener: Opener) -> None:
    store, now = opener(), 1.7e9 + 1 / 3
    limited = IssuedInvite("a" * 64, Role.VOLUNTEER, now, slots=3, weight=1.5)
    events = [e.MakeInvite(limited), e.TrustKey("carl", "carl", "cafe0123", "ein Freund")]
    state, made = tick(begun(store), events, now, 1)
    for passed in (True, False, False, True):
        state, more = trust.checked(state, "anna", passed, "der Verlust ist höher", now)
        made += more
    store.write(made, now)
    loaded = opener().load(TERMS)
    assert facts(loaded) == facts(state)
    assert (loaded.trust["anna"].clean, loaded.trust["anna"].made) == (1, 4)
    assert loaded.trust["carl"].trusted_by == "cafe0123"


def test_what_the_maintainer_decided_about_the_run_is_kept(opener: Opener) -> None:
    store, now = opener(), 1.7e9 + 1 / 3
    decided = [e.Steer(Course.FINISHED, "es reicht", "cafe0123"), e.Steer(Course.PAUSED, "Ferien", "cafe0123")]
    state, made = tick(begun(store), [*decided, e.ApproveCheckpoint(0, "cafe0123", "gut")], now, 1)
    store.write(made, now)
    loaded = opener().load(TERMS)
    assert facts(loaded) == facts(state)
    assert loaded.steering == Steering(Course.PAUSED, "Ferien", "cafe0123", now)
    assert (loaded.checkpoints[0].approved_by, loaded.checkpoints[0].approved_why) == ("cafe0123", "gut")


def test_what_members_did_is_read_from_the_ledger(opener: Opener) -> None:
    store = opener()
    history = History(5, state=begun(store))
    for _, made, _, now in history.steps(150):
        store.write(made, now)
    found, entries = store.standings(), store.ledger(0, None)
    assert found
    for member in history.state.members:
        rounds = {entry.round for entry in entries if (entry.member, entry.state) == (member, "counted")}
        reasons = ["", *(entry.why for entry in entries if (entry.member, entry.state) == (member, "rejected"))]
        assert found.get(member, Standing()) == Standing(len(rounds), reasons[-1])


def test_tables_of_an_earlier_version_get_the_columns_that_they_lack(
    opener: Opener, database: str, tmp_path: Path
) -> None:
    store = opener()
    history = History(2, state=begun(store))
    for _, made, _, now in history.steps(40):
        store.write(made, now)
    engine = create_engine(database or f"sqlite:///{tmp_path / 'coordinator.sqlite'}")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE bans"))
        for column in ("invite", "session", "away_round", "away_since", "away_until"):
            connection.execute(text(f"ALTER TABLE members DROP COLUMN {column}"))
        connection.execute(text("ALTER TABLE evaluations DROP COLUMN samples"))
        connection.execute(text("ALTER TABLE log DROP COLUMN kind"))
    engine.dispose()
    textless = {key: replace(found, samples=()) for key, found in history.state.evaluations.items()}
    assert textless != history.state.evaluations
    assert facts(opener().load(TERMS)) == facts(replace(history.state, evaluations=textless))
