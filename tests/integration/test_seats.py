"""Several devices in one machine: one worker each, one supervisor, each a member of its own."""

from __future__ import annotations

import shutil
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
def test_ctrl_c_ends_all_workers_of_a_machine(swarm: SwarmRun) -> None:
    swarm.write_spec(rounds=10_000)
    swarm.launch()
    where = ["--data-dir", str(swarm.folder / "pair"), "--device", "cpu,cpu", "--threads", "1", "--json"]
    pair = swarm.command("join", swarm.invite, "--yes", *where)
    pair.wait_for(after_round(2), 60)
    pair.interrupt()
    assert pair.finish(6) == 0
    assert pair.stderr == ""


@pytest.mark.processes
def test_a_copied_identity_is_noticed_and_the_newer_machine_goes_on(swarm: SwarmRun) -> None:
    swarm.write_spec(rounds=10_000)
    swarm.launch()
    first = swarm.join("first")
    first.wait_for(after_round(2), 60)
    (swarm.folder / "copy").mkdir()
    shutil.copy(swarm.folder / "first" / "identity.pem", swarm.folder / "copy")
    copy = swarm.join("copy")
    assert first.finish(60) == 18
    assert "joined with this machine's identity" in first.stderr
    assert "Traceback" not in first.stderr
    seen = max(event["round"] for event in first.every("round"))
    copy.wait_for(after_round(seen + 2), 60)
    with swarm.client() as client:
        assert [member.live for member in client.status().members] == [True]
        counted = [entry.range for entry in client.ledger() if entry.state == "counted"]
    positions = [p for part in counted for p in range(part.start, part.stop)]
    assert len(positions) == len(set(positions))
    copy.interrupt()
    assert copy.finish(20) == 0


@pytest.mark.processes
def test_a_revoked_invite_ends_who_joined_with_it_and_nobody_else(swarm: SwarmRun) -> None:
    swarm.write_spec(rounds=10_000)
    swarm.launch()
    where = ["--data-dir", str(swarm.folder / "coordinator")]
    made = swarm.command("invite", "new", "test", *where, "--note", "Ada", "--output", str(swarm.folder / "for-ada"))
    assert made.finish(20) == 0, made.stderr
    one = swarm.join("one")
    swarm.invite = str(swarm.folder / "for-ada")
    ada = swarm.join("ada")
    for peer in (one, ada):
        peer.wait_for(after_round(1), 60)
    listed = swarm.command("invite", "list", "test", *where)
    assert listed.finish(20) == 0
    [row] = [event["text"] for event in listed.events if "Ada" in event["text"]]
    assert swarm.command("invite", "revoke", "test", row.split()[0], *where).finish(20) == 0
    assert ada.finish(60) == 6
    assert "was revoked by the maintainer" in ada.stderr
    seen = max(event["round"] for event in one.every("round"))
    one.wait_for(after_round(seen + 2), 60)
    one.interrupt()
    assert one.finish(20) == 0
