"""What peers did in a swarm of real processes, and whether the ledger says the same."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from peer.outbox import REPORT, Outbox
from swarm.proto import coordinator_pb2 as pb
from tests.harness import Event, Program
from tests.swarm_run import SwarmRun, rounds, took_part

PATIENCE = 16.0  # seconds; a member that is silent for 15 is no member any more

Shares = dict[tuple[str, int], int]  # samples of a member in a round


def started(run: SwarmRun, count: int = 3) -> list[Program]:
    """Peers that count, each in rounds of all of them."""
    peers = [run.join(f"peer{number}") for number in range(count)]
    for peer in peers:
        peer.wait_for(lambda event: event.get("counted", 0) > 0 and event.get("members") == count, 90)
    peers[0].wait_for(rounds_more(4), 60)
    return peers


def rounds_more(count: int) -> Callable[[Event], bool]:
    seen: set[int] = set()

    def enough(event: Event) -> bool:
        if took_part(event):
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


def said(run: SwarmRun, *words: str, code: int = 0) -> str:
    """What a command printed, which must end with this code."""
    program = run.command(*words)
    assert program.finish(60) == code, (program.stderr, program.events)
    return "\n".join(str(event.get("text", event)) for event in program.events) + program.stderr


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


def kept(run: SwarmRun, peers: list[Program]) -> set[tuple[str, int]]:
    """Reports that a peer, which has a second for its last words, keeps for its next join."""
    found = set()
    for name in (f"peer{number}" for number in range(len(peers))):
        box = Outbox(run.folder / name / "outbox.sqlite")
        box.open()
        items = [item for item in box.first(1000) if item.kind == REPORT]
        found |= {(name, pb.RoundReport.FromString(item.body).round) for item in items}
        box.close()
    return found


def assert_whole(run: SwarmRun, peers: list[Program]) -> None:
    """The ledger counts what the peers did, the peers were told so, and every folder is whole."""
    ledger, work, waiting = counted(run), done(peers), kept(run, peers)
    differ = {key: (ledger.get(key), work.get(key)) for key in ledger | work if ledger.get(key) != work.get(key)}
    lost = {key: pair for key, pair in differ.items() if key not in waiting}
    assert not lost, f"(member, round): (samples in the ledger, samples that it did): {lost}"
    told = {f"peer{number}": peer.every("end")[-1]["counted"] for number, peer in enumerate(peers)}
    with run.client() as client:
        says = {member.name: member.counted_samples for member in client.status().members}
    assert waiting or says == told
    for folder in (run.home, *told):
        assert_sound(run, folder)


def assert_sound(run: SwarmRun, folder: str) -> None:
    """`swarm fsck` finds nothing."""
    said(run, "fsck", str(run.folder / folder), "--json")


def assert_nobody_left(run: SwarmRun) -> None:
    """The coordinator gave up no member and no lease."""
    with run.client() as client:
        assert not [text for text in client.status().decisions if "left" in text or "expired" in text]
