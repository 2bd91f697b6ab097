"""A coordinator's disk is lost while a peer trains: the run goes on from a backup that was made meanwhile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from coordinator.fsck import examine
from swarm.checks import failed
from swarm.proto import coordinator_pb2 as pb
from tests.accounts import said
from tests.swarm_run import SwarmRun, after_round, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

Facts = set[tuple[int, int, int, str]]


def counted(run: SwarmRun) -> Facts:
    with run.client() as client:
        entries = client.ledger()
    return {(e.range.start, e.range.stop, e.round, e.member_id) for e in entries if e.state == "counted"}


def checkpoints(run: SwarmRun) -> list[pb.Checkpoint]:
    with run.client() as client:
        return client.checkpoints()


def fsck(run: SwarmRun, folder: Path) -> list[str]:
    """The names of what does not hold; the command must end with 0."""
    [found] = json.loads(said(run, "fsck", str(folder), "--json"))
    return [check["name"] for check in found["checks"] if check["level"] == "failed"]


@pytest.mark.long
@pytest.mark.parametrize("name", ["copy", "copy.tar"])
def test_a_run_goes_on_from_a_backup_after_its_disk_was_lost(tmp_path: Path, name: str) -> None:
    folder, copy = tmp_path / "coordinator", tmp_path / name
    with swarm_run(tmp_path, rounds=2000) as run:
        coordinator = run.launch()
        peer = run.join("peer")
        peer.wait_for(after_round(4), 60)
        before, kept = counted(run), checkpoints(run)
        for _ in range(2):  # the second takes the place of the first
            said(run, "backup", "--data-dir", str(folder), "--to", str(copy))
        coordinator.kill()
        coordinator.clean_up()
        shutil.rmtree((folder / "p2p.folder").read_text().strip())  # temporary: it is lost with its machine
        shutil.rmtree(folder)
        assert f"swarm launch {folder}/run.toml" in said(run, "restore", str(copy), "--data-dir", str(folder))
        run.spec = folder / "run.toml"
        run.launch()
        last = max(event["round"] for event in peer.every("round"))
        peer.wait_for(after_round(last + 5), 60)
        assert before
        assert before <= counted(run)
        latest = max(checkpoints(run), key=lambda item: item.round)
        assert latest.round >= max(item.round for item in kept)
        assert fsck(run, folder) == []
        assert fsck(run, tmp_path / "peer") == []
        peer.interrupt()
        assert peer.finish(30) == 0, peer.stderr
    assert failed(examine(folder)) == []
