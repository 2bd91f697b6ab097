"""kill -9 of anybody at any named moment: the others go on, nothing is left, and who was killed counts again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from swarm.moments import Moment
from tests import faults
from tests.accounts import rounds_more
from tests.harness import Program
from tests.killed_coordinator import Server, killed
from tests.swarm_run import SwarmRun, digests, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

OTHERS_SECONDS, BACK_SECONDS, GONE_SECONDS = 10.0, 30.0, 2.0
SLOW = 3.0  # this machine has two cores for all of them

MOMENTS: tuple[Moment, ...] = ("sync", "train", "ready", "exchange", "commit", "apply", "report", "checkpoint")


class Three:
    """Three peers that train; one of them has a plan."""

    def __init__(self, run: SwarmRun, planned: int) -> None:
        self.run = run
        self.coordinator = run.launch()
        self.peers: list[Program] = []
        for number in range(3):
            run.environment = faults.planned(run.folder) if number == planned else {}
            self.peers.append(run.join(f"peer{number}"))
            self.peers[-1].wait_for(lambda event: event.get("counted", 0) > 0, 60)
        self.victim = self.peers[planned]
        self.others = [peer for peer in self.peers if peer is not self.victim]

    def befalls(self, moment: Moment) -> None:
        """The victim's worker is killed when it comes to this moment."""
        before = faults.worker(self.victim)
        faults.at(self.run.folder, moment)
        if moment == "sync":  # it comes to that when it is behind
            with faults.frozen(before):
                self.others[0].wait_for(rounds_more(3), 60)
        until(lambda: faults.happened(self.run.folder), 60)
        until(lambda: not any(of_group(process, before.pid) for process in psutil.process_iter()), GONE_SECONDS)


def until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def of_group(process: psutil.Process, group: int) -> bool:
    """A ghost: one that the killed worker started, and that still runs."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == group
    except (psutil.Error, ProcessLookupError):
        return False


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SwarmRun]:
    with swarm_run(tmp_path, rounds=100_000, every=2) as run:
        yield run


@pytest.mark.long
@pytest.mark.parametrize(
    ("moment", "victim"),
    [
        (moment, victim)
        for moment in MOMENTS
        for victim in (0, 2)  # 0 leads the rounds
        if (moment, victim) != ("checkpoint", 2)  # only the leader makes them
    ],
)
def test_a_worker_that_is_killed_at_any_moment(run: SwarmRun, moment: Moment, victim: int) -> None:
    three = Three(run, victim)
    three.befalls(moment)
    killed = time.monotonic()
    for peer in three.peers:
        peer.drain()
    three.others[0].wait_for(rounds_more(2), SLOW * OTHERS_SECONDS)
    went_on = time.monotonic() - killed
    counted = max(event.get("counted", 0) for event in three.victim.events)
    three.victim.wait_for(lambda event: event.get("counted", 0) > counted, SLOW * BACK_SECONDS)
    print(
        f"{moment}: the others went on after {went_on:.1f} s, it counts again after {time.monotonic() - killed:.1f} s"
    )
    for peer in three.peers:
        peer.interrupt()
    for peer in three.peers:
        assert peer.finish(30) == 0, peer.stderr
    assert all(len(held) == 1 for held in digests(three.peers).values())


@pytest.mark.long
@pytest.mark.parametrize("moment", ["write", "written"])
def test_a_coordinator_that_is_killed_again_and_again_loses_nothing_that_it_answered(
    run: SwarmRun, moment: Moment
) -> None:
    run.environment = faults.planned(run.folder)
    coordinator = run.launch()
    run.environment = {}
    peers = [run.join(f"peer{number}") for number in range(2)]
    for _ in range(5):
        peers[0].wait_for(rounds_more(2), 90)
        faults.at(run.folder, moment)
        coordinator.process.wait(60)
        assert faults.happened(run.folder)
        run.environment = faults.planned(run.folder)
        coordinator = run.launch()
        run.environment = {}
    for peer in peers:
        peer.interrupt()
    for peer in peers:
        assert peer.finish(30) == 0, peer.stderr
    check = run.command("fsck", str(run.folder / "coordinator"), "--json")
    assert check.finish(30) == 0, check.events
    with run.client() as client:
        counted = [entry.range for entry in client.ledger() if entry.state == "counted"]
    positions = [position for part in counted for position in range(part.start, part.stop)]
    assert len(positions) == len(set(positions))
    assert len(positions) >= sum(peer.every("end")[-1]["counted"] for peer in peers)


@pytest.mark.long
def test_fifty_kills_at_random_moments_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.prepare()
    outcome = killed(server, 50, faults.drawn())
    print(outcome)
    assert outcome.acknowledged > 500
    assert (outcome.rejected, outcome.lost, outcome.counted_twice) == (0, 0, 0)
