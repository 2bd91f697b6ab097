"""Peers that nobody can dial count fully: only the coordinator has an address of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.harness import Program
from tests.lab import Link, lab
from tests.lab.swarm import LabRun, lab_run
from tests.swarm_run import after_round, digests, local, rounds

pytestmark = [pytest.mark.lab, pytest.mark.processes, pytest.mark.timeout(300)]

STREET = Link(up_mbit=50, down_mbit=100, delay_ms=5)
HOME = Link(up_mbit=50, down_mbit=100, delay_ms=5, nat=True)
SECONDS = 150.0  # of a whole run on a busy machine


def notes(peer: Program) -> str:
    return "\n".join(event["text"] for event in peer.every("note"))


def check_that_both_counted(peers: list[Program], run: LabRun) -> None:
    for peer in peers:
        assert peer.finish(SECONDS) == 0, peer.stderr
    assert all(len(held) == 1 for held in digests(peers).values())
    for peer in peers:
        assert sum(event["members"] == 2 for event in rounds(peer)) >= 3
        assert peer.every("end")[-1]["counted"] > 0
    with run.client() as client:
        assert all(member.counted_samples > 0 for member in client.status().members)


@pytest.mark.parametrize("mode", ["local", "gradient"])
def test_two_peers_behind_two_nats_train_together(tmp_path: Path, mode: str) -> None:
    with lab({"coordinator": None, "one": HOME, "two": HOME}) as net, lab_run(net, tmp_path) as run:
        if mode == "local":
            local(run)
        run.launch()
        peers = [run.join("one"), run.join("two")]
        check_that_both_counted(peers, run)
        for peer, name in zip(peers, ("one", "two"), strict=True):
            assert f"behind a NAT: others see {net.host(name).public}" in notes(peer)


def test_a_peer_behind_a_nat_meets_an_open_one_directly(tmp_path: Path) -> None:
    with lab({"coordinator": None, "hidden": HOME, "open": STREET}) as net, lab_run(net, tmp_path, rounds=8) as run:
        local(run)
        run.launch()
        peers = [run.join("hidden")]
        peers[0].wait_for(lambda event: event.get("event") == "round", 60.0)
        peers.append(run.join("open"))
        check_that_both_counted(peers, run)
        assert "behind a NAT" in notes(peers[0])
        assert f"open: others can dial this machine at {net.host('open').public}" in notes(peers[1])


def test_places_at_the_relay_are_taken_again_after_the_coordinator_restarted(tmp_path: Path) -> None:
    with lab({"coordinator": None, "one": HOME, "two": HOME}) as net, lab_run(net, tmp_path, rounds=80) as run:
        local(run)
        coordinator = run.launch()
        peers = [run.join("one"), run.join("two")]
        peers[0].wait_for(lambda event: event.get("members") == 2 and event.get("event") == "round", 90.0)
        coordinator.interrupt()
        coordinator.process.wait(20)
        run.launch()
        seen = max(event["round"] for event in rounds(peers[0]))
        for peer in peers:
            again = peer.wait_for(lambda e: after_round(seen + 3)(e) and e["members"] == 2, 120.0)
            assert not again["dropped_why"]


@pytest.mark.parametrize(("link", "case"), [(HOME, "nat"), (STREET, "open")])
def test_the_doctor_says_which_case_it_is(tmp_path: Path, link: Link, case: str) -> None:
    with lab({"coordinator": None, "peer": link}) as net, lab_run(net, tmp_path) as run:
        run.launch()
        found = examined(run)
    assert (found["case"], found["relayed"]) == (case, case == "nat")
    assert found["addresses"] == [net.host("peer").address]
    assert found["seen_as"] == net.host("peer").public
    assert 0.01 <= found["round_trip_seconds"] < 2.0
    assert abs(found["clock_ahead_seconds"]) < 2.0


def examined(run: LabRun) -> dict[str, object]:
    doctor = run.on("peer", "doctor", run.invite, "--json")
    assert doctor.finish(60.0) == 0, doctor.stderr
    found: dict[str, object] = json.loads("\n".join(event["text"] for event in doctor.events))
    return found
