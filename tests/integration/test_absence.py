"""The coordinator is away, dead, frozen or set back to a copy: 20 rounds go on without it, then the ledger is whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import faults
from tests.accounts import assert_whole, go_on, heard, leave, started
from tests.swarm_run import SwarmRun, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.long]

ALONE = 20  # rounds that are promised without a coordinator
PATIENCE = 16.0  # seconds; a member that is silent for 15 is no member any more


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SwarmRun]:
    with swarm_run(tmp_path, rounds=100_000, every=5) as run:
        yield run


def test_twenty_rounds_without_a_coordinator(run: SwarmRun) -> None:
    coordinator = run.launch()
    peers = started(run)
    coordinator.kill()
    coordinator.process.wait()
    seconds = go_on(peers[0], ALONE)
    print(f"{ALONE} rounds in {seconds:.1f} s without a coordinator")
    run.launch()
    heard(peers)
    leave(peers)
    assert_whole(run, peers)


def test_a_coordinator_that_stood_still_has_missed_nobody(run: SwarmRun) -> None:
    coordinator = run.launch()
    peers = started(run)
    with faults.frozen(psutil.Process(coordinator.process.pid)):
        seconds = go_on(peers[0], ALONE)
        time.sleep(max(0.0, PATIENCE - seconds))
    heard(peers)
    with run.client() as client:
        assert not [text for text in client.status().decisions if "left" in text or "expired" in text]
    leave(peers)
    assert_whole(run, peers)


def test_a_copy_that_is_some_rounds_old_is_told_what_came_after_it(run: SwarmRun) -> None:
    coordinator = run.launch()
    peers = started(run)
    copy = run.command("backup", "--data-dir", str(run.folder / "coordinator"), "--to", str(run.folder / "copy"))
    assert copy.finish(60) == 0, copy.stderr
    go_on(peers[0], ALONE)  # and they are acknowledged
    with run.client() as client:
        before = client.status().round
    coordinator.kill()
    coordinator.process.wait()
    (run.folder / "coordinator").rename(run.folder / "lost")
    go_on(peers[0], 5)
    back = run.command("restore", str(run.folder / "copy"), "--data-dir", str(run.folder / "coordinator"))
    assert back.finish(60) == 0, back.stderr
    run.launch()
    heard(peers)
    leave(peers)
    with run.client() as client:
        assert client.status().round > before
    assert_whole(run, peers)
