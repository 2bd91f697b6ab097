"""Whole swarms in local mode: steps of one's own, sparse updates, the same state everywhere after every round."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness import Program, disputed
from tests.swarm_run import after_round, digests, local, rounds, swarm_run, together

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def heldout(peers: list[Program]) -> list[float]:
    """The held-out losses in the order of their rounds, whoever measured them."""
    notes = [str(event["text"]) for peer in peers for event in peer.every("note") if "held-out loss" in event["text"]]
    found = [re.findall(r"round (\d+): held-out loss ([\d.]+)", note)[0] for note in notes]
    return [float(loss) for _, loss in sorted(found, key=lambda item: int(item[0]))]


@pytest.mark.long
@pytest.mark.parametrize("more", ["", "overlap = true"], ids=["waiting", "overlapped"])
def test_three_peers_hold_one_state_and_learn(tmp_path: Path, more: str) -> None:
    with swarm_run(tmp_path, rounds=8, batch=48) as run:
        local(run, more)
        run.launch()
        peers = [run.join(f"peer-{number}") for number in range(3)]
        for peer in peers:
            assert peer.finish(90) == 0, peer.stderr
            assert peer.stderr == ""
        held = digests(peers)
        assert set(held) == set(range(8))
        assert not disputed(held)
        together = [event for event in rounds(peers[0]) if event["members"] == 3]
        assert together
        assert more or all(event["samples"] <= 16 for event in together)
        losses = heldout(peers)
        assert losses[-1] < losses[0] - 0.3
        with run.client() as client:
            entries = [entry for entry in client.ledger() if entry.state == "counted"]
            positions = [p for entry in entries for p in range(entry.range.start, entry.range.stop)]
            assert len(positions) == len(set(positions)) == client.status().global_samples


@pytest.mark.long
def test_peers_come_and_go_and_the_others_train_on(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=100_000, batch=32, letters=120_000) as run:
        local(run)
        run.launch()
        one, two = run.join("one"), run.join("two")
        one.wait_for(after_round(2))
        two.kill()
        late = run.join("late")
        late.wait_for(together(2), 60)
        for peer in (one, late):
            peer.interrupt()
        for peer in (one, late):
            assert peer.finish() == 0, peer.stderr
        assert not disputed(digests([one, late]))
        assert rounds(late)[0]["round"] > 0
        assert [event["round"] for event in rounds(one)] == list(range(len(rounds(one))))


@pytest.mark.long
def test_the_coordinators_node_carries_payloads_once_it_is_found_fast(tmp_path: Path) -> None:
    """Directly each of three sends its payload twice, over the relay once; a relay outside is tried at least once."""
    with swarm_run(tmp_path, rounds=6, batch=48) as run:
        local(run, 'codec = "int8"')
        run.launch()
        peers = [run.join(f"peer-{number}") for number in range(3)]
        for peer in peers:
            assert peer.finish(90) == 0, peer.stderr
        assert not disputed(digests(peers))
        sent = [event["sent"] for peer in peers for event in rounds(peer) if event["members"] == 3]
        payload = max(sent) / 2
        assert sum(size == payload for size in sent) >= 3, sent
