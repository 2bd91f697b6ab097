"""Several devices in one machine: one worker each, one supervisor, each a member of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.swarm_run import SwarmRun, after_round, swarm_run


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[SwarmRun]:
    with swarm_run(tmp_path, rounds=60) as run:
        yield run


@pytest.mark.processes
@pytest.mark.long
def test_two_devices_are_two_members_with_one_name_and_one_end(swarm: SwarmRun) -> None:
    swarm.launch()
    pair = swarm.command(
        *("join", swarm.invite, "--yes", "--data-dir", str(swarm.folder / "pair"), "--name", "pair", "--credit", "Ada"),
        *("--device", "cpu,cpu", "--threads", "1", "--json"),
    )
    assert pair.finish(90) == 0, pair.stderr
    with swarm.client() as client:
        members = client.status().members
    assert sorted(member.member_id for member in members) == [
        members[0].member_id[:16],
        f"{members[0].member_id[:16]}-1",
    ]
    assert {(member.name, member.credit, member.device) for member in members} == {("pair", "Ada", "CPU")}
    assert all(member.counted_samples for member in members)


@pytest.mark.processes
@pytest.mark.long
def test_ctrl_c_ends_all_workers_of_a_machine(swarm: SwarmRun) -> None:
    swarm.write_spec(rounds=10_000)
    swarm.launch()
    where = ["--data-dir", str(swarm.folder / "pair"), "--device", "cpu,cpu", "--threads", "1", "--json"]
    pair = swarm.command("join", swarm.invite, "--yes", *where)
    pair.wait_for(after_round(2), 60)
    pair.interrupt()
    assert pair.finish(6) == 0
    assert pair.stderr == ""
