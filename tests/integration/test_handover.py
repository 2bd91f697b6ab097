"""The run moves to another machine while its peers train: another folder, another address, the same ledger."""

from __future__ import annotations

import pytest

from swarm.client import CoordinatorClient
from swarm.errors import HandedOverError
from swarm.invite import Invite
from tests import faults
from tests.accounts import assert_sound, assert_whole, go_on, heard, leave, said, started
from tests.harness import Program
from tests.swarm_run import SwarmRun, free_port

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.long]


def moved(run: SwarmRun) -> tuple[str, ...]:
    """Everything of the run is at another address, in another folder, from now on; the words of `--to` or `--here`."""
    run.home, run.port = "other", free_port()
    return (f"127.0.0.1:{run.port}",)


def workers(peers: list[Program]) -> list[int]:
    return [faults.worker(peer).pid for peer in peers]


def test_a_run_is_handed_over_while_its_peers_train(run: SwarmRun) -> None:
    old = run.launch()
    peers, copy, first = started(run), str(run.folder / "copy.tar"), run.invite
    before = workers(peers)
    to = moved(run)
    printed = said(run, "handover", "--data-dir", str(run.folder / "coordinator"), "--to", *to, "--copy", copy)
    assert "swarm restore copy.tar" in printed
    assert printed.splitlines()[-1].startswith(f"swarm://{to[0]}/test?fp=")
    go_on(peers[0], 5)  # nobody leads
    printed = said(run, "restore", copy, "--data-dir", str(run.folder / "other"))
    assert f"--advertise-host 127.0.0.1 --port {run.port}" in printed
    run.launch()
    assert run.invite == printed_invite(first, to[0])
    heard(peers)
    assert workers(peers) == before
    with CoordinatorClient.connect(Invite.parse(first)) as client:
        assert client.invite.address == to[0]  # old invites lead there while the old one answers
    old.interrupt()
    assert old.finish(30) == 0
    old_folder = str(run.folder / "coordinator")
    again = said(run, "launch", str(run.spec), "--data-dir", old_folder, code=HandedOverError.exit_code)
    assert f"it is led at {to[0]} now" in again
    leave(peers)
    assert_whole(run, peers)
    assert_sound(run, "coordinator")


def printed_invite(first: str, address: str) -> str:
    """The same invite at another address."""
    host, _, rest = first.removeprefix("swarm://").partition("/")
    assert host != address
    return f"swarm://{address}/{rest}"


def test_peers_find_a_run_whose_old_machine_is_lost(run: SwarmRun) -> None:
    """It was killed, its address is dead; the copy is some rounds old, and they hear of the new one from each other."""
    old = run.launch()
    peers, copy = started(run), str(run.folder / "copy.tar")
    before = workers(peers)
    said(run, "backup", "--data-dir", str(run.folder / "coordinator"), "--to", copy)
    go_on(peers[0], 5)
    old.kill()
    old.process.wait()
    go_on(peers[0], 5)
    at = moved(run)
    said(run, "restore", copy, "--data-dir", str(run.folder / "other"))
    printed = said(run, "handover", "--data-dir", str(run.folder / "other"), "--here", *at)
    assert f"--advertise-host 127.0.0.1 --port {run.port}" in printed
    run.launch()
    heard(peers)
    assert workers(peers) == before
    leave(peers)
    assert_whole(run, peers)


def test_who_is_handed_over_says_so_to_everybody_at_once(run: SwarmRun) -> None:
    run.launch()
    invite, to = run.invite, moved(run)
    where = ("--data-dir", str(run.folder / "coordinator"))
    for _ in range(2):  # the second time it only makes the copy again
        said(run, "handover", *where, "--to", *to, "--copy", str(run.folder / "copy"))
    elsewhere = ("--to", "127.0.0.1:9", "--copy", str(run.folder / "c2"))
    assert "is led at" in said(run, "handover", *where, *elsewhere, code=HandedOverError.exit_code)
    assert to[0] in said(run, "status", invite, code=5)  # it does not answer yet
