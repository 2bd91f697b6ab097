"""The coordinator is away, dead, frozen or set back to a copy: 20 rounds go on without it, then the ledger is whole."""

from __future__ import annotations

import time

import psutil
import pytest

from tests import faults
from tests.accounts import PATIENCE, assert_nobody_left, assert_whole, go_on, heard, leave, said, started
from tests.swarm_run import SwarmRun

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.long]

ALONE = 20  # rounds that are promised without a coordinator


def test_twenty_rounds_without_a_coordinator(run: SwarmRun) -> None:
    coordinator = run.launch()
    peers = started(run)
    with faults.away(run, coordinator):
        seconds = go_on(peers[0], ALONE)
    print(f"{ALONE} rounds in {seconds:.1f} s without a coordinator")
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
    assert_nobody_left(run)
    leave(peers)
    assert_whole(run, peers)


def test_a_copy_that_is_some_rounds_old_is_told_what_came_after_it(run: SwarmRun) -> None:
    coordinator = run.launch()
    peers = started(run)
    home, copy = run.folder / run.home, str(run.folder / "copy")
    said(run, "backup", "--data-dir", str(home), "--to", copy)
    go_on(peers[0], ALONE)  # and they are acknowledged
    with run.client() as client:
        before = client.status().round
    with faults.away(run, coordinator):
        home.rename(run.folder / "lost")
        go_on(peers[0], 5)
        said(run, "restore", copy, "--data-dir", str(home))
    heard(peers)
    leave(peers)
    with run.client() as client:
        assert client.status().round > before
    assert_whole(run, peers)
