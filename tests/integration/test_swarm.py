"""Whole swarms: launch, join, train, exchange, checkpoint, resume."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest
import torch

from peer import parting
from peer.checkpoint import read_state
from peer.model import load_model
from peer.outbox import REPORT, Outbox
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Range
from swarm.runspec import load
from tests import faults
from tests.harness import Program
from tests.reference import plain_loop
from tests.swarm_run import SwarmRun, after_round, rounds, swarm_command, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def counted(run: SwarmRun) -> list[pb.LedgerEntry]:
    with run.client() as client:
        return [entry for entry in client.ledger() if entry.state == "counted"]


def assert_exactly_once(entries: list[pb.LedgerEntry]) -> None:
    positions = [p for entry in entries for p in range(entry.range.start, entry.range.stop)]
    assert len(positions) == len(set(positions)), "a position was counted twice"


def assert_quiet_end(program: Program, seconds: float = 30.0) -> None:
    assert program.finish(seconds) == 0, program.stderr
    assert program.stderr == ""


def replayed(run: SwarmRun, entries: list[pb.LedgerEntry]) -> list[float]:
    """The losses of a plain PyTorch loop on the very batches that the ledger lists for each round."""
    with run.client() as client:
        start = min(client.checkpoints(), key=lambda item: item.round)
        client.download(start.sha256, start.size, run.folder / "start.safetensors")
    batches = run.batches()
    model = load_model(run.folder / "coordinator" / "model")
    state, _ = read_state(run.folder / "start.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[f"model/{name}"])
    total = max(entry.round for entry in entries) + 1
    of_round = [[e for e in entries if e.round == number] for number in range(total)]
    tokens = (torch.cat([batches.load(Range(e.range.start, e.range.stop)).tokens for e in part]) for part in of_round)
    return plain_loop(model, tokens, load(run.spec))


def swarm_losses(peers: list[Program], total: int) -> list[float]:
    """The swarm's loss per round: the mean over all samples of all peers."""
    losses = []
    for number in range(total):
        said = [e for peer in peers for e in rounds(peer) if e["round"] == number and e["samples"]]
        losses.append(sum(e["loss"] * e["samples"] for e in said) / sum(e["samples"] for e in said))
    return losses


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.long), 3])
def test_the_loss_curve_equals_a_plain_loop_on_the_same_global_batches(tmp_path: Path, count: int) -> None:
    with swarm_run(tmp_path, rounds=6) as run:
        run.launch()
        peers = [run.join(f"peer-{number}") for number in range(count)]
        for peer in peers:
            assert_quiet_end(peer, 60)
        entries = counted(run)
        assert_exactly_once(entries)
        assert swarm_losses(peers, 6) == pytest.approx(replayed(run, entries), rel=2e-4)
        held = {
            number: {e["digest"] for peer in peers for e in rounds(peer) if e["round"] == number} for number in range(6)
        }
        assert all(len(digests) == 1 for digests in held.values()), held
        with run.client() as client:
            status, kept = client.status(), client.checkpoints()
        assert status.finished
        assert status.round == 6
        assert max(item.round for item in kept) == 6
        assert {item.digest for item in kept if item.round == 6} == held[5]
        assert sum(len(range(e.range.start, e.range.stop)) for e in entries) == status.global_samples


@pytest.mark.long
def test_the_coordinator_may_be_killed_and_come_back(tmp_path: Path) -> None:
    """Peers train on, report afterwards; nothing that was acknowledged is lost, nothing is counted twice."""
    with swarm_run(tmp_path, rounds=25, letters=120_000) as run:
        coordinator = run.launch()
        peers = [run.join(f"peer-{number}") for number in range(2)]
        peers[0].wait_for(after_round(3))
        before = counted(run)
        with faults.away(run, coordinator):
            alone = peers[0].named("round", 20)["round"]
            peers[0].wait_for(after_round(alone + 2), 20)
        for peer in peers:
            assert_quiet_end(peer, 60)
        after = counted(run)
        assert_exactly_once(after)
        known = {(e.range.start, e.range.stop, e.round, e.member_id) for e in after}
        assert {(e.range.start, e.range.stop, e.round, e.member_id) for e in before} <= known
        assert {e.round for e in after} == set(range(25))


@pytest.mark.long
def test_everything_stopped_and_launched_again_goes_on_where_it_stood(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=14, every=100, letters=120_000) as run:
        coordinator = run.launch()
        peers = [run.join(f"peer-{number}") for number in range(2)]
        peers[0].wait_for(after_round(4))
        for peer in peers:
            peer.interrupt()
        for peer in peers:
            assert_quiet_end(peer, 10)
        with run.client() as client:
            stopped_at = client.status().round
            latest = max(client.checkpoints(), key=lambda item: item.round)
        coordinator.interrupt()
        assert_quiet_end(coordinator)
        assert latest.round == stopped_at >= 5
        assert coordinator.process.returncode == 0
        run.launch()
        again = [run.join(f"peer-{number}") for number in range(2)]
        for peer in again:
            assert_quiet_end(peer, 60)
        assert rounds(again[0])[0]["round"] == stopped_at
        entries = counted(run)
        assert_exactly_once(entries)
        assert {entry.round for entry in entries} == set(range(14))
        losses = swarm_losses([*peers, *again], 14)
        assert losses == pytest.approx(replayed(run, entries), rel=5e-4)


@pytest.mark.long
def test_what_was_kept_is_heard_though_the_run_is_finished(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=3) as run:
        run.launch()
        assert_quiet_end(run.join("peer"), 60)
        box = Outbox(run.folder / "peer" / "outbox.sqlite")
        box.open()
        box.put(REPORT, pb.RoundReport(round=2, digest="unheard").SerializeToString())
        box.close()
        again = run.join("peer")
        assert_quiet_end(again, 60)
        said = [event["text"] for event in again.every("note")]
        assert "sending what was kept from last time: 1 in all" in said
        assert said[-1] == "The run test is finished after 3 rounds; there is nothing to train."
        box.open()
        assert len(box) == 0
        box.close()


def test_ctrl_c_leaves_silently_within_five_seconds_and_kill_9_leaves_nothing(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=500) as run:
        coordinator = run.launch()
        staying, leaving, killed = (run.join(name) for name in ("staying", "leaving", "killed"))
        for peer in (staying, leaving, killed):
            peer.wait_for(after_round(0))
        started = time.monotonic()
        leaving.interrupt()
        assert_quiet_end(leaving, 10)
        assert time.monotonic() - started < 5
        assert parting.before(run.folder / "leaving").left_in > 0, "the next process says so"
        worker = faults.worker(killed)
        killed.kill()
        last = staying.named("round")["round"]
        staying.wait_for(after_round(last + 2), 25)
        assert _ended(worker)
        assert parting.before(run.folder / "killed").left_in == 0
        status = run.track(swarm_command("status", run.invite, "--json"))
        assert_quiet_end(status)
        shown = json.loads(" ".join(event["text"] for event in status.every("line")))
        assert {member["name"]: member["live"] for member in shown["members"]}["leaving"] is False
        staying.interrupt()
        assert_quiet_end(staying, 10)
        coordinator.interrupt()
        assert_quiet_end(coordinator, 10)


def _ended(process: psutil.Process, seconds: float = 5.0) -> bool:
    """Whether it runs no more, or will not in a few seconds: it hears of its parent's end and cleans up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.long
def test_a_crashed_worker_is_started_again_and_counts_again(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=500) as run:
        run.launch()
        peer = run.join("peer")
        peer.wait_for(after_round(1))
        faults.kill(faults.worker(peer))
        peer.wait_for(lambda e: e["event"] == "note" and "starting it again" in e["text"])
        last = rounds(peer)[-1]["round"]
        peer.wait_for(after_round(last + 1), 30)
        peer.interrupt()
        assert_quiet_end(peer, 10)


@pytest.mark.long
def test_a_late_joiner_is_counted_from_its_first_full_round(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=500) as run:
        run.launch()
        first = run.join("first")
        first.wait_for(after_round(2))
        late = run.join("late")
        late.wait_for(after_round(3))
        late.wait_for(lambda e: e["event"] == "status" and e.get("counted", 0) > 0, 20)
        both = {e["round"]: e["digest"] for e in rounds(first)}
        assert any(e["members"] == 2 for e in rounds(late))
        assert all(both.get(e["round"], e["digest"]) == e["digest"] for e in rounds(late))
        for peer in (first, late):
            peer.interrupt()
        for peer in (first, late):
            assert_quiet_end(peer, 10)
