"""What must survive: the decisions of every tick, in SQL. SQLite by default, PostgreSQL by URL.

The decisions of a tick are written in one transaction before any caller is answered; at start the state is read back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from immutables import Map
from sqlalchemy import Connection, Engine, Row, create_engine, delete, event, func, select, update

from coordinator import decisions as d
from coordinator import rows, statements, trialtables, uploadtable
from coordinator.bans import with_barred
from coordinator.checkpoints import newest
from coordinator.grants import KEPT as GRANTS_KEPT
from coordinator.ledger import END, Entry, Ledger
from coordinator.quorum import KEPT
from coordinator.records import Checkpoint, Evaluation, Filed, Receipt, Standing, Terms
from coordinator.rounds import Poll, RoundAgreed, VoteForgotten, reached
from coordinator.schema import make_tables
from coordinator.seal import Seal
from coordinator.sqlerrors import in_our_words
from coordinator.state import State
from coordinator.steering import CheckpointApproved, Steered
from coordinator.tables import (
    bans,
    checkpoints,
    entries,
    evaluations,
    grants,
    invites,
    leases,
    log,
    members,
    reports,
    returns,
    rollbacks,
    steering,
    trust,
    votes,
)
from coordinator.trialrecords import TrialDecision
from coordinator.uploads import Stage, Upload
from swarm.ranges import Range, gaps, merge

_LOG_SHOWN = 50


class Store(Protocol):
    """See `SqlStore`; tests/contract/test_store.py holds every implementation to it."""

    def load(self, terms: Terms) -> State: ...

    def write(self, made: Iterable[d.Decision], now: float) -> None: ...

    def receipts(self, keys: Sequence[str]) -> dict[str, tuple[Receipt, ...]]: ...

    def ledger(self, first: int, last: int | None, newest: int | None = None) -> list[Entry]: ...

    def newest_entry(self) -> int: ...

    def uploads(self) -> list[Upload]: ...

    def filed(self) -> tuple[list[Filed], set[str]]: ...

    def standings(self) -> dict[str, Standing]: ...

    def recent_decisions(self) -> list[str]: ...

    def reading(self) -> AbstractContextManager[Connection]: ...

    def close(self) -> None: ...


def open_store(run: str, data_dir: Path, url: str = "") -> SqlStore:
    """The store of `run`: `url`, or a SQLite file in `data_dir`. Raises CorruptError for a torn file, DiskError,
    SwarmError.
    """
    file = data_dir / "coordinator.sqlite"
    engine = create_engine(url or f"sqlite:///{file}", pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
    store = SqlStore(run, engine, None if url else Seal(file))
    store.create()
    return store


def _durable(connection: Any, _record: object) -> None:
    """Readers do not wait for writers, and what is committed survives a power cut."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")


class SqlStore:
    """The tables of one run. One thread writes, others may read; the `database` is also the `coordinator.logbook`'s."""

    def __init__(self, run: str, engine: Engine, seal: Seal | None = None) -> None:
        self._run = run
        self.database = engine
        self._seal = seal

    def create(self) -> None:
        """Make the tables, and give them the columns of this version. Raises CorruptError, DiskError, SwarmError."""
        with in_our_words():
            if self._seal:
                self._seal.open()
            make_tables(self.database)

    def close(self) -> None:
        self.database.dispose()

    # ── writing ────────────────────────────────────────────────────────────────────────────────

    def write(self, made: Iterable[d.Decision], now: float) -> None:
        """Put the decisions of one tick on disk, all or none. Raises DiskError, SwarmError."""
        with in_our_words(), self.database.begin() as connection:
            for decision in made:
                self._write(connection, decision)
                if row := rows.log_row(decision, now):
                    connection.execute(log.insert(), {"run": self._run, **row})
            if self._seal:
                self._seal.number(connection)
        if self._seal:
            self._seal.committed()

    def _write(self, connection: Connection, decision: d.Decision) -> None:
        match decision:
            case d.MemberJoined(member) | d.MemberLeft(member):
                self._put(connection, members, rows.member_row(member))
            case d.ReportFiled():
                self._file(connection, decision)
            case d.RoundGranted(round_, members_):
                self._put(connection, grants, {"round": round_, "members": json.dumps(sorted(members_))})
            case d.WentBack():
                self._go_back(connection, decision)
            case RoundAgreed() | VoteForgotten():
                self._write_of_votes(connection, decision)
            case d.RolledBack(rollback):
                self._put(connection, rollbacks, asdict(rollback))
                if not rollback.halted:
                    connection.execute(update(members).where(self._mine(members)).values(holds=0))
            case d.LeaseGranted() | d.LeasesRecalled() | d.LeaseExpired() | d.LeaseUsed():
                self._write_of_leases(connection, decision)
            case TrialDecision():
                trialtables.write(connection, decision, self._run, self._put)
            case _:
                self._write_of_states(connection, decision)

    def _write_of_votes(self, connection: Connection, decision: RoundAgreed | VoteForgotten) -> None:
        there = (self._mine(votes), votes.c.round == decision.round)
        match decision:
            case RoundAgreed(_, digest):
                connection.execute(update(votes).where(*there, votes.c.digest == digest).values(agreed=True))
            case VoteForgotten(_, member):
                connection.execute(delete(votes).where(*there, votes.c.member == member))

    def _write_of_leases(
        self, connection: Connection, decision: d.LeaseGranted | d.LeasesRecalled | d.LeaseExpired | d.LeaseUsed
    ) -> None:
        match decision:
            case d.LeaseGranted(lease):
                self._put(connection, leases, rows.lease_row(lease))
            case d.LeasesRecalled():
                self._recall(connection, decision)
            case d.LeaseExpired(lease, found):
                self._add_entries(connection, found, "")
                self._close_lease(connection, lease.id)
            case d.LeaseUsed(lease_id):
                self._close_lease(connection, lease_id)

    def _write_of_states(self, connection: Connection, decision: d.Decision) -> None:
        uploadtable.write(connection, decision, self._run, self._put)
        match decision:
            case d.CheckpointAccepted(checkpoint) | CheckpointApproved(checkpoint):
                self._put(connection, checkpoints, asdict(checkpoint))
            case d.CheckpointDropped(checkpoint):
                connection.execute(delete(checkpoints).where(self._mine(checkpoints), _is(checkpoints, checkpoint)))
            case d.InviteMade(invite) | d.InviteRevoked(invite):
                self._put(connection, invites, asdict(invite))
            case d.MemberBanned(ban):
                self._put(connection, bans, asdict(ban))
            case d.MemberUnbanned(ban):
                connection.execute(delete(bans).where(self._mine(bans), bans.c.key == ban.key))
            case d.TrustChanged(found):
                self._put(connection, trust, asdict(found))
            case Steered(found):
                self._put(connection, steering, asdict(found))
            case d.EvaluationAccepted(evaluation):
                self._put(connection, evaluations, rows.evaluation_row(evaluation))
            case d.EvaluationDropped(evaluation):
                connection.execute(delete(evaluations).where(self._mine(evaluations), _of_round(evaluation)))

    def _file(self, connection: Connection, filed: d.ReportFiled) -> None:
        report = filed.report
        self._put(connection, reports, {"key": report.key, "member": filed.member, "round": report.round})
        self._add_entries(connection, filed.entries, report.key)
        counted, rejected = (
            sum(len(entry.range) for entry in filed.entries if entry.state == state)
            for state in ("counted", "rejected")
        )
        credit = {"member": filed.member, "more_counted": counted, "more_rejected": rejected, "held": filed.holds}
        connection.execute(statements.CREDIT, {"run_": self._run, **credit})
        if filed.back:
            self._change(connection, filed.member, **rows.away_row(None))
        if filed.voted:
            said = {"round": report.round, "member": filed.member, "agreed": filed.agreed}
            self._put(connection, votes, said | asdict(report.metrics))

    def _recall(self, connection: Connection, recalled: d.LeasesRecalled) -> None:
        for lease in recalled.leases:
            self._put(connection, leases, rows.lease_row(lease))
        self._add_entries(connection, recalled.entries, "")
        self._change(connection, recalled.member, first_lease=recalled.first_lease)

    def _add_entries(self, connection: Connection, found: Sequence[Entry], key: str) -> None:
        new = [
            {
                "run": self._run,
                "start": entry.range.start,
                "stop": entry.range.stop,
                "state": entry.state,
                "round": entry.round,
                "member": entry.member,
                "lease": entry.lease,
                "why": entry.why,
                "report": key,
            }
            for entry in found
        ]
        if new:
            connection.execute(statements.ADD_ENTRIES, new)

    def _close_lease(self, connection: Connection, lease_id: str) -> None:
        connection.execute(statements.CLOSE_LEASE, {"run_": self._run, "lease": lease_id})

    def _go_back(self, connection: Connection, back: d.WentBack) -> None:
        """What had been counted stays in the ledger, as expired with the reason; words on undone rounds go."""
        undone = (self._mine(entries), entries.c.state == "counted", entries.c.round >= back.back.round)
        connection.execute(update(entries).where(*undone).values(state="expired", why=back.why))
        connection.execute(delete(votes).where(self._mine(votes), votes.c.round >= back.back.round))
        connection.execute(delete(evaluations).where(self._mine(evaluations), evaluations.c.round > back.back.round))
        connection.execute(delete(grants).where(self._mine(grants), grants.c.round >= back.back.round))
        self._put(connection, returns, rows.return_row(back.back))
        for member in {entry.member for entry in back.undone}:
            count = sum(len(entry.range) for entry in back.undone if entry.member == member)
            self._change(connection, member, counted=members.c.counted - count)

    def _change(self, connection: Connection, member: str, **values: Any) -> None:
        row = (self._mine(members), members.c.id == member)
        connection.execute(update(members).where(*row).values(**values))

    def _put(self, connection: Connection, table: Any, row: dict[str, Any]) -> None:
        """Insert the row, or replace the one with its key."""
        statement = statements.put(self.database.dialect.name, table, tuple(row))
        connection.execute(statement, {"run": self._run, **row})

    # ── reading ────────────────────────────────────────────────────────────────────────────────

    def load(self, terms: Terms) -> State:
        """The state as the last written tick left it; an empty run for new tables. Raises SwarmError."""
        with self.reading() as connection:
            kept = {row.round: rows.checkpoint(row) for row in self._all(connection, checkpoints)}
            since = min(newest(kept, terms.keep_checkpoints), default=0)
            granted, cast = self._all(connection, grants)[-GRANTS_KEPT:], self._votes(connection)
            brought = uploadtable.read(self._all(connection, uploadtable.uploads))
            state = State(
                terms=terms,
                ledger=self._load_ledger(connection, terms, since),
                votes=Map(cast),
                reached=reached(cast),
                checkpoints=kept,
                brought={it.checkpoint.sha256: it.checkpoint for it in brought if it.stage is Stage.ASIDE},
                evaluations={row.round: rows.evaluation(row) for row in self._all(connection, evaluations)},
                invites={found.id: found for found in map(rows.invite, self._all(connection, invites))},
                bans={row.key: rows.ban(row) for row in self._all(connection, bans)},
                trust=Map({row.key: rows.trust(row) for row in self._all(connection, trust)}),
                rollbacks=tuple(map(rows.rollback, self._all(connection, rollbacks))),
                steering=rows.steering(self._all(connection, steering)),
                grants={row.round: frozenset(json.loads(row.members)) for row in granted},
                trials=trialtables.read_trials(connection, self._all),
                record=trialtables.read_record(connection, self._all),
            )
            return with_barred(state.with_members(map(rows.member, self._all(connection, members))))

    def _load_ledger(self, connection: Connection, terms: Terms, since: int) -> Ledger:
        written = self._all(connection, entries)
        counted = [row for row in written if row.state == "counted"]
        taken = [Range(row.start, row.stop) for row in counted]
        settled: dict[tuple[str, str], list[Range]] = {}  # by lease and its holder: what was counted, dropped, rejected
        for row in written:
            settled.setdefault((row.lease, row.member), []).append(Range(row.start, row.stop))
        found = [rows.lease(row, settled.get((row.id, row.member), [])) for row in self._all(connection, leases)]
        held = [part for lease in found for part in lease.left]
        free = gaps(merge([*taken, *held]), Range(0, END))
        recent = [rows.entry(row) for row in counted if row.round >= since]
        back = [rows.return_(row) for row in self._all(connection, returns)]
        return Ledger(terms.epoch_samples, tuple(free), since=since).restored(found, recent, back)

    def _votes(self, connection: Connection) -> dict[int, Poll]:
        newest = connection.execute(select(func.max(votes.c.round)).where(self._mine(votes), votes.c.agreed)).scalar()
        latest = connection.execute(select(func.max(checkpoints.c.round)).where(self._mine(checkpoints))).scalar()
        first = min(latest or 0, (newest or 0) + 1 - KEPT)
        named = select(votes).where(self._mine(votes), votes.c.round >= first).order_by(votes.c.round, votes.c.member)
        cast: dict[int, Poll] = {}
        for row in connection.execute(named):
            poll = cast.get(row.round, Poll()).plus(row.member, rows.vote(row))
            cast[row.round] = replace(poll, agreed=row.digest if row.agreed else poll.agreed)
        return cast

    def receipts(self, keys: Sequence[str]) -> dict[str, tuple[Receipt, ...]]:
        """What was answered to those of the reports that were filed before."""
        with self.reading() as connection:
            known = connection.execute(statements.FILED, {"run": self._run, "keys": keys})
            answered: dict[str, tuple[Receipt, ...]] = {row.key: () for row in known}
            if not answered:
                return {}
            for row in connection.execute(statements.ENTRIES_OF, {"run": self._run, "keys": list(answered)}):
                answered[row.report] = (*answered[row.report], Receipt.of(rows.entry(row)))
        return answered

    def ledger(self, first: int, last: int | None, newest: int | None = None) -> list[Entry]:
        """What became of every range, for rounds first ≤ r < last, as it was written; no entry after `newest`."""
        chosen = [self._mine(entries), entries.c.round >= first]
        chosen += [entries.c.round < last] if last is not None else []
        chosen += [entries.c.number <= newest] if newest is not None else []
        with self.reading() as connection:
            found = connection.execute(select(entries).where(*chosen).order_by(entries.c.number))
            return [rows.entry(row) for row in found]

    def newest_entry(self) -> int:
        """The number of the ledger's last entry, 0 without one."""
        with self.reading() as connection:
            return connection.execute(select(func.max(entries.c.number))).scalar() or 0

    def uploads(self) -> list[Upload]:
        """What became of the files that members brought and that are no checkpoints of the run."""
        with self.reading() as connection:
            return uploadtable.read(self._all(connection, uploadtable.uploads))

    def filed(self) -> tuple[list[Filed], set[str]]:
        """All reports that were filed, and the keys of those that the ledger names."""
        with self.reading() as connection:
            named = connection.execute(select(entries.c.report).where(self._mine(entries), entries.c.report != ""))
            kept = self._all(connection, reports)
            return [Filed(row.key, row.member, row.round) for row in kept], set(named.scalars())

    def standings(self) -> dict[str, Standing]:
        """How each member stands in the ledger that is in it at all."""
        mine, by = self._mine(entries), entries.c.member
        rounds = select(by, func.count(entries.c.round.distinct()).label("rounds")).where(mine, _is_state("counted"))
        newest = select(func.max(entries.c.number)).where(mine, _is_state("rejected")).group_by(by)
        reasons = select(by, entries.c.why).where(entries.c.number.in_(newest))
        with self.reading() as connection:
            counted = {row.member: row.rounds for row in connection.execute(rounds.group_by(by))}
            why = {row.member: row.why for row in connection.execute(reasons)}
        return {member: Standing(counted.get(member, 0), why.get(member, "")) for member in counted | why}

    def recent_decisions(self) -> list[str]:
        """The last decisions that are worth a sentence, newest first."""
        newest = select(log.c.text).where(self._mine(log)).order_by(log.c.number.desc()).limit(_LOG_SHOWN)
        with self.reading() as connection:
            return list(connection.execute(newest).scalars())

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with in_our_words(), self.database.connect() as connection:
            yield connection

    def _all(self, connection: Connection, table: Any) -> Sequence[Row[Any]]:
        order = table.c.number if "number" in table.c else table.primary_key.columns.values()[-1]
        return connection.execute(select(table).where(self._mine(table)).order_by(order)).all()

    def _mine(self, table: Any) -> Any:
        return table.c.run == self._run


def _is(table: Any, checkpoint: Checkpoint) -> Any:
    return table.c.sha256 == checkpoint.sha256


def _of_round(evaluation: Evaluation) -> Any:
    return evaluations.c.round == evaluation.round


def _is_state(name: str) -> Any:
    return entries.c.state == name
