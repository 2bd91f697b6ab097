"""Events that come together are written together, and each is answered as if it had come alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from coordinator import decisions as d
from coordinator import events as e
from coordinator.blobs import Blobs
from coordinator.engine import Engine
from coordinator.ledger import Claim
from coordinator.records import Pulse
from coordinator.store import SqlStore
from swarm.errors import DiskError, RefusedError
from swarm.ranges import Range
from tests.histories import START, TERMS, report

CROWD = 24


class Disk(SqlStore):
    """Writes when it may, as a slow disk, and fails when it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(TERMS.run, create_engine(f"sqlite:///{path}"))
        self.free = threading.Event()
        self.busy = threading.Event()
        self.full = False
        self.writes = 0

    def write(self, made: Iterable[d.Decision], now: float) -> None:
        self.busy.set()
        assert self.free.wait(20)
        if self.full:
            raise DiskError("The disk is full.")
        super().write(made, now)
        self.writes += 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "run.sqlite")
    disk.create()
    disk.free.set()
    disk.write([d.CheckpointAccepted(START)], 0.0)
    yield disk
    disk.free.set()
    disk.close()


@pytest.fixture
def engine(disk: Disk, tmp_path: Path) -> Engine:
    engine = Engine(disk.load(TERMS), disk, Blobs(tmp_path), clock=lambda: 0.0)
    for number in range(CROWD):
        engine.apply(e.Join(f"m{number}", b"k" * 32, f"m{number}", "1"))
    return engine


def together(engine: Engine, disk: Disk, events: list[e.Event]) -> list[Future[list[d.Decision]]]:
    """All of them wait while one write is under way; what became of each."""
    disk.free.clear()
    disk.busy.clear()
    with ThreadPoolExecutor(len(events) + 1) as pool:
        first = pool.submit(engine.apply, e.TakeLease("m0", 8))
        assert disk.busy.wait(20)
        asked = [pool.submit(engine.apply, event) for event in events]
        _until(lambda: len(engine._waiting) == len(events) + 1)
        disk.free.set()
        first.exception(20)
    return asked


def _until(so: Callable[[], bool]) -> None:
    ended = threading.Event()
    for _ in range(2000):
        if so():
            return
        ended.wait(0.01)
    raise AssertionError("it never came about")


def test_what_waits_for_a_write_shares_the_next_one(engine: Engine, disk: Disk) -> None:
    before = disk.writes
    asked = together(engine, disk, [e.TakeLease(f"m{number}", 8) for number in range(1, CROWD)])
    leased = [item.lease.range for one in asked for item in one.result() if isinstance(item, d.LeaseGranted)]
    assert disk.writes == before + 2
    assert len(leased) == len({range_.start for range_ in leased}) == CROWD - 1
    assert disk.load(TERMS).ledger.leases == engine.state.ledger.leases


def test_a_report_that_comes_twice_at_once_counts_once(engine: Engine, disk: Disk) -> None:
    engine.apply(e.TakeLease("m1", 8))
    [lease] = engine.state.ledger.held_by("m1")
    twice = e.Report("m1", (report("key", 0, (Claim(lease.id, lease.range),)),))
    made = [item for one in together(engine, disk, [twice, twice]) for item in one.result()]
    [filed] = [item for item in made if isinstance(item, d.ReportFiled)]
    [known] = [item for item in made if isinstance(item, d.ReportKnown)]
    assert known.receipts == filed.receipts
    assert [entry.state for entry in disk.ledger(0, None)] == ["counted"]


def test_a_refused_caller_and_a_faulty_event_harm_nobody_else(engine: Engine, disk: Disk) -> None:
    faulty = e.TakeLease("m2", "eight")  # type: ignore[arg-type]
    stranger, broken, good = together(engine, disk, [e.TakeLease("nobody", 8), faulty, e.TakeLease("m3", 8)])
    assert isinstance(stranger.exception(), RefusedError)
    assert isinstance(broken.exception(), TypeError)
    assert any(isinstance(item, d.LeaseGranted) for item in good.result())


def test_what_no_table_can_hold_is_refused_to_its_sender_alone(engine: Engine, disk: Disk) -> None:
    vast = tuple(Claim("none", Range(0, 1 << 62)) for _ in range(3))
    event = e.Report("m1", (report("odd", 0, vast, dropped="lost"),))
    odd, good = together(engine, disk, [event, e.TakeLease("m3", 8)])
    assert isinstance(odd.exception(), OverflowError)
    assert any(isinstance(item, d.LeaseGranted) for item in good.result())


def test_of_a_write_that_failed_nothing_has_happened(engine: Engine, disk: Disk) -> None:
    before, disk.full = engine.state, True
    lease, beat = together(engine, disk, [e.TakeLease("m1", 8), e.Heartbeat("m2", Pulse())])
    assert isinstance(lease.exception(), DiskError)
    assert beat.result() == [], "it needs no disk"
    assert engine.state.ledger == before.ledger
    disk.full = False
    assert any(isinstance(item, d.LeaseGranted) for item in engine.apply(e.TakeLease("m1", 8)))
