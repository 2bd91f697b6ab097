"""A worker that hangs, as in a call to a GPU that never comes back: it is ended, and another one takes its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import faults
from tests.accounts import leave
from tests.harness import Program
from tests.swarm_run import swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]


@pytest.mark.long
def test_a_worker_that_hangs_is_ended_and_its_samples_are_trained_on_by_the_next(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=100_000) as run:
        run.spec.write_text(run.spec.read_text().replace("grace_seconds = 5.0", "grace_seconds = 1.0"))
        run.spec.write_text(run.spec.read_text().replace("timeout_seconds = 15.0", "timeout_seconds = 2.0"))
        run.launch()
        where = ["--data-dir", str(tmp_path / "peer"), "--threads", "1", "--device", "cpu", "--yes", "--json"]
        command = [sys.executable, "-m", "tests.impatient", "join", run.invite, *where]
        peer = run.track(Program(command, SWARM_HOME=str(tmp_path / "home")))
        peer.wait_for(lambda event: event.get("counted", 0) > 0, 60)
        hanging = faults.worker(peer)
        hanging.suspend()
        said = peer.wait_for(lambda event: "the training process said nothing for" in event.get("text", ""), 60)
        assert "starting it again in" in said["text"]
        assert not hanging.is_running()
        counted = max(event.get("counted", 0) for event in peer.events)
        peer.wait_for(lambda event: event.get("counted", 0) > counted, 60)
        [report] = (tmp_path / "peer" / "crashes").glob("*.txt")
        assert report.read_text().startswith("the training process said nothing for")
        leave([peer])
