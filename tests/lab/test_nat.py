"""Peers that nobody can dial count fully: only the coordinator has an address of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Event, Program, disputed
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
    assert not disputed(digests(peers))
    for peer in peers:
        assert sum(event["members"] == 2 for event in rounds(peer)) >= 3
        assert peer.every("end")[-1]["counted"] > 0
    with run.client() as client:
        assert all(member.counted_samples > 0 for member in client.status().members)


@pytest.mark.parametrize("mode", ["local", pytest.param("gradient", marks=pytest.mark.long)])
def test_two_peers_behind_two_nats_train_together(tmp_path: Path, mode: str) -> None:
    with lab({"coordinator": None, "one": HOME, "two": HOME}) as net, lab_run(net, tmp_path) as run:
        if mode == "local":
            local(run)
        run.launch()
        peers = [run.join("one"), run.join("two")]
        check_that_both_counted(peers, run)
        for peer, name in zip(peers, ("one", "two"), strict=True):
            assert f"behind a NAT: others see {net.host(name).public}" in notes(peer)


def after_two_together(number: int) -> Callable[[Event], bool]:
    """For `wait_for`: round `number` or a later one had two members."""
    return lambda event: after_round(number)(event) and event["members"] == 2


@pytest.mark.long
def test_a_peer_behind_a_nat_and_an_open_one_train_together(tmp_path: Path) -> None:
    """The hidden one came first, so it leads."""
    with lab({"coordinator": None, "hidden": HOME, "open": STREET}) as net, lab_run(net, tmp_path, rounds=900) as run:
        local(run)
        run.launch()
        hidden = run.join("hidden")
        hidden.wait_for(lambda event: event.get("event") == "round", 60.0)
        other = run.join("open")
        begun = hidden.wait_for(after_two_together(0), SECONDS)["round"]
        for peer in (hidden, other):
            assert not peer.wait_for(after_two_together(begun + 5), 60.0)["dropped_why"]
        assert not disputed(digests([hidden, other]))
        assert "behind a NAT" in notes(hidden)
        assert f"open: others can dial this machine at {net.host('open').public}" in notes(other)


@pytest.mark.long
def test_places_at_the_relay_are_taken_again_after_the_coordinator_restarted(tmp_path: Path) -> None:
    with lab({"coordinator": None, "one": HOME, "two": HOME}) as net, lab_run(net, tmp_path, rounds=900) as run:
        local(run)
        coordinator = run.launch()
        peers = [run.join("one"), run.join("two")]
        peers[0].wait_for(after_two_together(0), SECONDS)
        coordinator.interrupt()
        coordinator.process.wait(20)
        run.launch()
        seen = max(event["round"] for event in peers[0].every("round"))
        for peer in peers:
            peer.wait_for(after_two_together(seen + 3), 120.0)


@pytest.mark.parametrize(("link", "case"), [(HOME, "nat"), pytest.param(STREET, "open", marks=pytest.mark.long)])
def test_the_doctor_says_which_case_it_is(tmp_path: Path, link: Link, case: str) -> None:
    with lab({"coordinator": None, "peer": link}) as net, lab_run(net, tmp_path) as run:
        run.launch()
        found = examined(run)
    assert (found["case"], found["relayed"]) == (case, case == "nat")
    assert found["addresses"] == [net.host("peer").address]
    assert found["seen_as"] == net.host("peer").public
    assert 0.01 <= found["round_trip"] < 2.0
    assert abs(found["clock_ahead"]) < 2.0
    assert found["up"] == pytest.approx(50e6 / 8, rel=0.35)
    assert found["down"] == pytest.approx(100e6 / 8, rel=0.35)


@pytest.mark.long
def test_the_doctor_without_a_route(tmp_path: Path) -> None:
    with lab({"coordinator": None, "peer": STREET}) as net, lab_run(net, tmp_path) as run:
        run.launch()
        net.cut("peer")
        doctor = run.on("peer", "doctor", run.invite, "--json")
        assert doctor.finish(60.0) == 5, doctor.stderr
        assert '"failed"' in "".join(event["text"] for event in doctor.events)


def examined(run: LabRun) -> dict[str, object]:
    doctor = run.on("peer", "doctor", run.invite, "--json")
    assert doctor.finish(60.0) == 0, doctor.stderr
    found: dict[str, object] = json.loads("\n".join(event["text"] for event in doctor.events))
    return found
