"""The coordinator is away, dead, frozen or set back to a copy: 20 rounds go on without it, then the ledger is whole."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests import faults
from tests.harness import Event, Program
from tests.swarm_run import SwarmRun, rounds, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240), pytest.mark.long]

ALONE = 20  # rounds that are promised without a coordinator
PATIENCE = 16.0  # seconds; a member that is silent for 15 is no member any more

Shares = dict[tuple[str, int], int]  # samples of a member in a round


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SwarmRun]:
    with swarm_run(tmp_path, rounds=100_000, every=5) as run:
        yield run


def started(run: SwarmRun) -> list[Program]:
    """Three peers that count, each in rounds of all three."""
    peers = [run.join(f"peer{number}") for number in range(3)]
    for peer in peers:
        peer.wait_for(lambda event: event.get("counted", 0) > 0 and event.get("members") == 3, 90)
    peers[0].wait_for(rounds_more(4), 60)
    return peers


def rounds_more(count: int) -> Callable[[Event], bool]:
    seen: set[int] = set()

    def enough(event: Event) -> bool:
        if event.get("event") == "round" and not event["dropped_why"]:
            seen.add(event["round"])
        return len(seen) >= count

    return enough


def go_on(peer: Program, count: int) -> float:
    """Seconds for so many rounds from now on."""
    peer.drain()
    began = time.monotonic()
    peer.wait_for(rounds_more(count), 120)
    return time.monotonic() - began


def heard(peers: list[Program]) -> None:
    """The coordinator answers everybody again."""
    for peer in peers:
        peer.drain()
        counted = max(event.get("counted", 0) for event in peer.events)
        peer.wait_for(lambda event, counted=counted: event.get("counted", 0) > counted, 60)


def leave(peers: list[Program]) -> None:
    for peer in peers:
        peer.interrupt()
    for peer in peers:
        assert peer.finish(30) == 0, peer.stderr


def done(peers: list[Program]) -> Shares:
    """What the peers say that they put into the rounds."""
    return {
        (f"peer{number}", event["round"]): event["samples"]
        for number, peer in enumerate(peers)
        for event in rounds(peer)
        if event["samples"]
    }


def counted(run: SwarmRun) -> Shares:
    """What the ledger says; no position is there twice."""
    with run.client() as client:
        names = {member.member_id: member.name for member in client.status().members}
        entries = [entry for entry in client.ledger() if entry.state == "counted"]
    positions = [at for entry in entries for at in range(entry.range.start, entry.range.stop)]
    assert len(positions) == len(set(positions))
    shares = Counter[tuple[str, int]]()
    for entry in entries:
        shares[names[entry.member_id], entry.round] += entry.range.stop - entry.range.start
    return dict(shares)


def assert_whole(run: SwarmRun, peers: list[Program]) -> None:
    """The ledger counts what the peers did, the peers were told so, and every folder is whole."""
    assert counted(run) == done(peers)
    told = {f"peer{number}": peer.every("end")[-1]["counted"] for number, peer in enumerate(peers)}
    with run.client() as client:
        assert {member.name: member.counted_samples for member in client.status().members} == told
    for folder in ("coordinator", "peer0", "peer1", "peer2"):
        check = run.command("fsck", str(run.folder / folder), "--json")
        assert check.finish(60) == 0, check.events


def test_twenty_rounds_without_a_coordinator(run: SwarmRun) -> None:
    coordinator = run.launch()
    peers = started(run)
    coordinator.kill()
    coordinator.process.wait()
    seconds = go_on(peers[0], ALONE)
    print(f"{ALONE} rounds in {seconds:.1f} s without a coordinator")
    run.launch()
    heard(peers)
    leave(peers)
    assert_whole(run, peers)


def test_a_coordinator_that_stood_still_has_missed_nobody(run: SwarmRun) -> None:
    coordinator = run.launch()
    peers = started(run)
    with faults.frozen(psutil.Process(coordinator.process.pid)):
        seconds = go_on(peers[0], ALONE)
        time.sleep(max(0.0, PATIENCE - seconds))
    heard(peers)
    with run.client() as client:
        assert not [text for text in client.status().decisions if "left" in text or "expired" in text]
    leave(peers)
    assert_whole(run, peers)


def test_a_copy_that_is_some_rounds_old_is_told_what_came_after_it(run: SwarmRun) -> None:
    coordinator = run.launch()
    peers = started(run)
    copy = run.command("backup", "--data-dir", str(run.folder / "coordinator"), "--to", str(run.folder / "copy"))
    assert copy.finish(60) == 0, copy.stderr
    go_on(peers[0], ALONE)  # and they are acknowledged
    with run.client() as client:
        before = client.status().round
    coordinator.kill()
    coordinator.process.wait()
    (run.folder / "coordinator").rename(run.folder / "lost")
    go_on(peers[0], 5)
    back = run.command("restore", str(run.folder / "copy"), "--data-dir", str(run.folder / "coordinator"))
    assert back.finish(60) == 0, back.stderr
    run.launch()
    heard(peers)
    leave(peers)
    with run.client() as client:
        assert client.status().round > before
    assert_whole(run, peers)
