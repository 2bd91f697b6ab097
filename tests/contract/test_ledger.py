"""The law of the ledger, on every store: whatever happens, its replay counts every sample once."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from coordinator import decisions as d
from coordinator import events as e
from coordinator.blobs import Blobs
from coordinator.engine import Engine
from coordinator.ledger import Claim, Entry
from coordinator.state import State
from coordinator.store import SqlStore, open_store
from coordinator.tick import tick
from coordinator.translate import entry_message, leased_message
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Layout, Range, total
from swarm.replay import Replay, replay
from tests.histories import START, TERMS, History, report

LAYOUT = Layout((20, 30), 8, seed=1)


class Coordinator:
    """A history with a real store that may be killed between any two moments, and opened again."""

    def __init__(self, seed: int, folder: Path, url: str) -> None:
        self._place = (f"law-{uuid4().hex[:12]}", folder, url)
        self.rng = random.Random(seed)
        self.store = open_store(*self._place)
        self.store.write([d.CheckpointAccepted(START)], 0.0)
        self.history = History(seed, state=self.store.load(TERMS))

    def live(self, ticks: int) -> None:
        for _, made, _, now in self.history.steps(ticks):
            if self.rng.random() < 0.05:  # killed before anything was written: nobody was answered
                for item in made:
                    if isinstance(item, d.ReportFiled):
                        self.history.known.pop(item.report.key, None)
                self.restart(now)
                continue
            self.store.write(made, now)
            if self.rng.random() < 0.1:
                self.restart(now)
            if self.rng.random() < 0.2:
                self.replayed().check()

    def restart(self, now: float) -> None:
        self.store.close()
        self.store = open_store(*self._place)
        self.history.state, made = tick(self.store.load(TERMS), [e.Resumed()], now, seed=1)
        self.store.write(made, now)

    def told(self) -> list[pb.LedgerEntry]:
        return as_told(self.store.ledger(0, None), self.history.state)

    def replayed(self) -> Replay:
        return replay(self.told(), LAYOUT)


def as_told(entries: list[Entry], state: State) -> list[pb.LedgerEntry]:
    """The ledger as members are told it."""
    open_ = [leased_message(part, lease, state.round) for lease in state.ledger.leases.values() for part in lease.left]
    return [*map(entry_message, entries), *open_]


@pytest.mark.timeout(300)  # on a machine that does much else
@pytest.mark.parametrize("histories", [8, pytest.param(60, marks=pytest.mark.long)])
def test_every_sample_is_counted_once_or_visibly_lent_again(database: str, histories: int) -> None:
    """Any interleaving of join, leave, crash, late report, report twice, coordinator killed and started again."""

    @settings(max_examples=histories, deadline=None)
    @given(seed=st.integers(0, 2**32), ticks=st.integers(1, 150))
    def law(seed: int, ticks: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            coordinator = Coordinator(seed, Path(folder), database)
            coordinator.live(ticks)
            found, state = coordinator.replayed(), coordinator.history.state
            coordinator.store.close()
        _hold(found, state)

    law()


def _hold(found: Replay, state: State) -> None:
    """Nothing is counted twice, and what is not counted is free or lent."""
    found.check()
    assert total(found.counted) == state.ledger.counted_samples
    reached = Range(0, TERMS.epoch_samples * len(found.epochs))
    assert sum(epoch.free for epoch in found.epochs) == total(part.overlap(reached) for part in state.ledger.free)
    assert sum(epoch.leased for epoch in found.epochs) == sum(map(state.ledger.pending, state.members))
    for member in state.members.values():
        assert found.members.get(member.id, {}).get("counted", 0) == member.counted


def test_going_back_stays_visible_and_what_it_undid_is_counted_again(database: str, tmp_path: Path) -> None:
    found, seed = list[pb.LedgerEntry](), 0
    while not any(entry.why.startswith("undone: the run went back to round ") for entry in found):
        coordinator = Coordinator(seed, tmp_path, database)
        coordinator.live(100)
        found, seed = coordinator.told(), seed + 1
        coordinator.store.close()
    undone = [entry for entry in found if entry.why.startswith("undone")]
    assert {entry.state for entry in undone} == {"expired"}
    assert all(entry.lease_id for entry in found)
    replay(found, LAYOUT).check()


class Busy(SqlStore):
    """A store in which something else happens just before a ledger is read."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def ledger(self, first: int, last: int | None, newest: int | None = None) -> list[Entry]:
        self.meanwhile()
        return super().ledger(first, last, newest)


def test_the_ledger_and_its_leases_are_of_one_moment(tmp_path: Path) -> None:
    store = Busy(TERMS.run, create_engine(f"sqlite:///{tmp_path / 'busy.sqlite'}"))
    store.create()
    store.write([d.CheckpointAccepted(START)], 0.0)
    engine = Engine(store.load(TERMS), store, Blobs(tmp_path), clock=lambda: 0.0)
    engine.apply(e.Join("a", b"k" * 32, "a", "1"))
    engine.apply(e.TakeLease("a", 8))
    [lease] = engine.state.ledger.leases.values()
    store.meanwhile = lambda: engine.apply(e.Report("a", (report("k", 0, (Claim(lease.id, lease.range),)),)))
    state, entries = engine.ledger(0, None)
    assert [entry.state for entry in as_told(entries, state)] == ["leased"]
    replay(as_told(entries, state), LAYOUT).check()
    state, entries = engine.ledger(0, None)
    assert [entry.state for entry in as_told(entries, state)] == ["counted"]
    store.close()
