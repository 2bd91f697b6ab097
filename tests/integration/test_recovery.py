"""A peer that computes nonsense quarantines itself, says why, and counts again; a run that diverged goes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import decisions as d
from coordinator.records import RollBack
from coordinator.store import open_store
from swarm.errors import HaltedError
from tests import faults
from tests.accounts import assert_sound, leave, said
from tests.harness import Event, Program, disputed
from tests.swarm_run import SwarmRun, after_round, digests, local, rounds, swarm_run, took_part

pytestmark = [pytest.mark.processes, pytest.mark.timeout(200), pytest.mark.long]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SwarmRun]:
    with swarm_run(tmp_path, rounds=100_000, every=2, letters=200_000) as run:
        yield run


def joined(run: SwarmRun, count: int) -> list[Program]:
    """Peers with a plan each, once their samples count."""
    peers = []
    for number in range(count):
        plan(run, number).mkdir()
        run.environment = faults.planned(plan(run, number))
        peers.append(run.join(f"peer{number}"))
    for peer in peers:
        peer.wait_for(lambda event: event.get("counted", 0) > 0, 90)
    return peers


def plan(run: SwarmRun, number: int) -> Path:
    return run.folder / f"plan{number}"


def assert_adds_up(run: SwarmRun) -> None:
    assert_sound(run, run.home)
    said(run, "ledger", "replay", run.invite, "--json")


@pytest.mark.parametrize(
    ("mode", "do", "kinds"),
    [
        ("gradient", "nan", {"damaged-state"}),
        ("gradient", "flip", {"damaged-state", "other-state"}),  # seen in its memory, or in the round's end
        ("local", "nan", {"not-finite"}),
    ],
)
def test_one_of_three_recovers_tells_why_and_counts_again(run: SwarmRun, mode: str, do: str, kinds: set[str]) -> None:
    if mode == "local":
        local(run)
    run.launch()
    peers = joined(run, 3)
    victim = peers[1]
    faults.at(plan(run, 1), "train", do)
    found = victim.named("quarantine", 60)
    assert found["fault"] in kinds
    assert found["in_a_row"] == 1
    counted = max(event.get("counted", 0) for event in victim.events)
    victim.wait_for(lambda event: event.get("counted", 0) > counted, 60)
    with run.client() as client:
        decisions = " ".join(client.status().decisions)
    assert f"quarantined itself in round {found['round']}: {found['why']}" in decisions
    assert "went back" not in decisions
    leave(peers)
    held = digests([peer for peer in peers if peer is not victim])
    assert not disputed(held)
    made = [event for event in rounds(victim) if event["round"] in held and event["round"] + 1 != found["round"]]
    assert all({event["digest"]} == held[event["round"]] for event in made)
    lost = [event for event in victim.every("round") if event["dropped_why"] == found["why"]]
    assert lost or do == "flip"
    assert_adds_up(run)


def after_going_back(peer: Program, seconds: float) -> Event:
    return peer.wait_for(lambda event: "the run went back to round" in str(event.get("text", "")), seconds)


def test_when_all_diverge_the_run_goes_back_and_on(run: SwarmRun) -> None:
    run.launch()
    peers = joined(run, 2)
    now = max(event["round"] for peer in peers for event in rounds(peer))
    for number in range(2):
        faults.at(plan(run, number), "apply", "nan", round=now + 8)
    for peer in peers:
        found = peer.named("quarantine", 60)
        assert found["why"] == f"the state of round {now + 9} holds numbers that are not finite"
    for peer in peers:
        assert "2 of 2 members quarantined themselves" in after_going_back(peer, 30)["text"]
    first = [peer.wait_for(took_part, 60)["round"] for peer in peers]
    assert min(first) <= now + 8  # whose worker starts later comes in later
    peers[0].wait_for(after_round(now + 11), 60)
    with run.client() as client:
        status = client.status()
    assert any("The run went back from round" in text and "not finite" in text for text in status.decisions)
    assert not status.halted
    leave(peers)
    assert_adds_up(run)


def test_a_run_that_was_stopped_stays_so_and_says_why(run: SwarmRun) -> None:
    coordinator = run.launch()
    coordinator.interrupt()
    assert coordinator.finish(20) == 0
    store = open_store("test", run.folder / "coordinator")
    store.write([d.RolledBack(RollBack(1, 3, 0, 4, "all diverged, and going back 3 times did not help", True))], 0.0)
    store.close()
    run.launch()
    late = run.join("late")
    assert late.finish(60) == HaltedError.exit_code
    assert "all diverged, and going back 3 times did not help" in late.stderr
    assert "stopped: all diverged" in said(run, "status", run.invite)
