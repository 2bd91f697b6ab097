"""kill -9 of anybody at any named moment: the others go on, nothing is left, and who was killed counts again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.moments import Moment
from tests import faults
from tests.accounts import assert_sound, counted, leave, rounds_more
from tests.harness import disputed
from tests.killed_coordinator import Server, killed
from tests.swarm_run import SwarmRun, digests, swarm_run
from tests.victims import LEADER, MOMENTS, OTHER, Three

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

SLOW = 1.5  # this machine may have other work


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
        for victim in (LEADER, OTHER)
        if (moment, victim) != ("checkpoint", OTHER)  # only the leader makes them
    ],
)
def test_a_worker_that_is_killed_at_any_moment(run: SwarmRun, moment: Moment, victim: int) -> None:
    three = Three(run, victim)
    survived = three.survive(moment, SLOW)
    print(f"{moment}: the others went on after {survived.others} s, it counts again after {survived.back} s")
    leave(three.peers)
    assert not disputed(digests(three.peers))


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
    leave(peers)
    assert_sound(run, run.home)
    assert sum(counted(run).values()) >= sum(peer.every("end")[-1]["counted"] for peer in peers)


@pytest.mark.long
def test_fifty_kills_at_random_moments_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.prepare()
    outcome = killed(server, 50, faults.drawn())
    print(outcome)
    assert outcome.acknowledged > 500
    assert (outcome.rejected, outcome.lost, outcome.counted_twice) == (0, 0, 0)
    assert outcome.checkpoint > 0
    assert (outcome.stray, outcome.missing) == (0, 0)
