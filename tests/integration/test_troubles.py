"""A full disk, a wrong clock, a corrupt file, no memory: it is said, nothing acknowledged is lost, and it goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests import faults
from tests.accounts import PATIENCE, assert_nobody_left, assert_whole, go_on, heard, leave, started
from tests.swarm_run import SwarmRun, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.long]

HOUR = 3600


def test_a_coordinator_without_room_says_so_and_goes_on_when_there_is_some(tmp_path: Path) -> None:
    with faults.disk(tmp_path / "disk") as disk, swarm_run(tmp_path, rounds=100_000, every=5) as run:
        run.home = "disk/coordinator"
        run.launch()
        peers = started(run, 2)
        with faults.fill_disk(disk):
            go_on(peers[0], 10)  # reports are kept by the peers meanwhile
        assert "disk is full or fails" in (tmp_path / "peer0" / "peer.log").read_text()
        heard(peers)
        leave(peers)
        assert_whole(run, peers)


def test_a_volunteer_without_room_says_so_and_reports_when_there_is_some(run: SwarmRun) -> None:
    run.launch()
    with faults.disk(run.folder / "peer1") as disk:
        peers = started(run, 2)
        with faults.fill_disk(disk):
            go_on(peers[1], 10)
        heard(peers)
        said = [event["text"] for event in peers[1].every("note")]
        assert [text for text in said if "The disk is full" in text], said
        leave(peers)
        assert_whole(run, peers)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_coordinator_whose_clock_is_set_loses_nobody(run: SwarmRun, seconds: int) -> None:
    run.environment = faults.skewable(run.folder)
    run.launch()
    run.environment = {}
    peers = started(run, 2)
    faults.skew_clock(run.folder, seconds)
    time.sleep(PATIENCE)
    heard(peers)
    assert_nobody_left(run)
    leave(peers)
    assert_whole(run, peers)


def test_a_volunteer_with_a_wrong_clock_is_told_before_it_takes_part(run: SwarmRun) -> None:
    run.launch()
    run.environment = faults.skewable(run.folder)
    faults.skew_clock(run.folder, HOUR)
    peer = run.join("early")
    assert peer.finish(60) == 17
    assert "Clock: 3600 s ahead" in peer.stderr
    assert "timedatectl" in peer.stderr


def test_a_corrupt_checkpoint_is_refused_by_name_and_an_older_one_is_used(run: SwarmRun) -> None:
    chance = faults.drawn()
    coordinator = run.launch()
    peers = started(run, 2)
    go_on(peers[0], 11)
    leave(peers)
    coordinator.interrupt()
    assert coordinator.finish(30) == 0
    run.launch()
    with run.client() as client:
        latest = max(client.checkpoints(), key=lambda item: item.round)
    run.programs[-1].interrupt()
    assert run.programs[-1].finish(30) == 0
    faults.corrupt(run.blob(latest.sha256), chance)
    run.launch()
    assert latest.sha256 in (run.folder / "coordinator" / "coordinator.log").read_text()
    with run.client() as client:
        assert max(item.round for item in client.checkpoints()) < latest.round
    again = run.join("peer0")
    again.wait_for(lambda event: event.get("counted", 0) > 0, 60)
    again.interrupt()
    assert again.finish(30) == 0


def test_a_worker_without_memory_comes_back_and_says_why(run: SwarmRun) -> None:
    run.launch()
    peers = started(run, 2)
    faults.oom(faults.worker(peers[1]))
    said = peers[1].wait_for(lambda event: "starting it again" in str(event.get("text", "")), 30)
    assert "-9" in said["text"]
    assert "memory" in said["text"]
    heard(peers)
    leave(peers)
