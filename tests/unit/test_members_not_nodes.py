"""One seat is one node, whatever passes it has; a process that was started anew is in the place of the one before."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from peer.doorkeeper import Doorkeeper
from peer.exchange.roll import Roll
from swarm.identity import server_certificate
from swarm.papers import Papers
from swarm.passes import Authority
from tests.let_in import pass_for


@pytest.fixture
def roll(tmp_path: Path) -> Roll:
    Papers(b"", time.time()).keep(tmp_path / "papers")
    authority = Authority.of("test", server_certificate(tmp_path).certificate_pem)
    return Roll(Doorkeeper(authority, tmp_path / "papers"))


def test_of_many_nodes_of_one_member_the_newest_counts_however_they_are_seen(roll: Roll, tmp_path: Path) -> None:
    now, nodes = time.time(), [bytes([number]) * 8 for number in range(7)]
    passes = {node: pass_for(tmp_path, node, member="e", issued_at=now + n) for n, node in enumerate(nodes)}
    for order in (nodes, nodes[::-1], nodes):
        for node in order:
            roll.note(node, passes[node])
        assert [node for node in nodes if not roll.objection(node)] == nodes[-1:]
    assert "newer pass" in roll.objection(nodes[0])
    assert not roll.names(nodes[0], "e")


def test_passes_of_one_member_push_nobody_out(roll: Roll, tmp_path: Path) -> None:
    roll.note(b"honest", pass_for(tmp_path, b"honest", member="h"))
    for number in range(200):
        roll.note(b"%d" % number, pass_for(tmp_path, b"%d" % number, member="e", issued_at=float(number)))
    assert len(roll._passes) == 2
    assert roll.objection(b"honest") == ""


def test_two_seats_of_one_key_and_the_coordinators_nodes_are_no_one_member(roll: Roll, tmp_path: Path) -> None:
    for node, member in ((b"one", "m"), (b"two", "m-1")):
        roll.note(node, pass_for(tmp_path, node, member=member))
    for node in (b"old", b"new"):
        roll.note(node, pass_for(tmp_path, node, role="node"))
    assert [roll.objection(node) for node in (b"one", b"two")] == ["", ""]
    assert all("newer" not in roll.objection(node) for node in (b"old", b"new"))


def test_a_coordinators_clock_that_is_set_back_shuts_no_new_process_out_for_long(roll: Roll, tmp_path: Path) -> None:
    clock = [0.0]
    roll._clock = lambda: clock[0]
    now = time.time()
    roll.note(b"old", pass_for(tmp_path, b"old", member="m", issued_at=now + 3600))
    new = pass_for(tmp_path, b"new", member="m", issued_at=now)
    roll.note(b"new", new)
    assert "newer pass" in roll.objection(b"new")
    clock[0] = 61.0
    roll.note(b"new", new)
    assert roll.objection(b"new") == ""
    assert roll.objection(b"old")


def test_an_older_pass_does_not_come_back(roll: Roll, tmp_path: Path) -> None:
    now = time.time()
    roll.note(b"p", pass_for(tmp_path, b"p", member="m", issued_at=now, expires_at=now + 900, since=now - 7))
    roll.note(b"p", pass_for(tmp_path, b"p", member="m", issued_at=now - 800, expires_at=now - 100))
    roll.note(b"p", b"what is none")
    assert roll.objection(b"p") == ""
    shown = roll.shown(b"p")
    assert shown is not None
    assert shown.since == now - 7
