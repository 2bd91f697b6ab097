"""The exchange between real processes: hivemind's DHT, P2P and all-reduce on loopback."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests import faults
from tests.harness import digests, disputed, exchange_peers

pytestmark = [pytest.mark.processes, pytest.mark.timeout(90)]

LEADER, FOLLOWER = 0, 2  # by number: who joined first leads the rounds


@pytest.mark.parametrize(
    "way",
    [
        pytest.param({"codec": "none"}, marks=pytest.mark.long),
        pytest.param({"codec": "fp16"}, marks=pytest.mark.long),
        {"codec": "8bit"},
        pytest.param({"codec": "none", "clipped": True}, marks=pytest.mark.long),
        {"codec": "fp16", "clipped": True},
        pytest.param({"codec": "8bit", "clipped": True}, marks=pytest.mark.long),
        {"local": "sparse"},
        pytest.param({"local": "int8"}, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_every_member_holds_the_same_bytes_after_every_round(way: dict[str, str]) -> None:
    """Stock hivemind rounds (and compresses) the difference for every receiver on its own, and fails this."""
    with exchange_peers(**way, await_others=2) as swarm:
        for _ in range(3):
            swarm.start()
        peers = swarm.finish()
        found = digests(peers)
        assert sorted(found) == [1, 2, 3, 4, 5]
        assert not disputed(found)
        assert any(event["members"] == 3 for event in peers[0].every("applied"))
        assert [peer.stderr for peer in peers] == ["", "", ""]


def test_the_average_is_weighted_by_samples() -> None:
    """Fast and slow peers: what is applied is the mean over all samples of the group."""
    import torch

    from tests.exchange_peer import tensors

    with exchange_peers(await_others=1, rounds=2, target=40) as swarm:
        swarm.start(pace=0.005)
        swarm.start(pace=0.02)
        fast, slow = swarm.finish()
    both = [e for e in fast.every("applied") if e["members"] == 2]
    assert both
    for event in both:
        index = event["round"] - 1
        other = next(e for e in slow.every("applied") if e["round"] == event["round"])
        mine, theirs = (tensors(seed * 1000 + index, 40_000) for seed in (0, 1))
        mean = {n: (mine[n] * event["own"] + theirs[n] * other["own"]) / event["samples"] for n in mine}
        norm = float(torch.cat([t.reshape(-1) for t in mean.values()]).double().norm())
        assert event["own"] + other["own"] == event["samples"]
        assert event["norm"] == pytest.approx(norm, rel=1e-5)


def test_a_late_joiner_fetches_the_state_and_takes_part() -> None:
    with exchange_peers(rounds=40, pace=0.05) as swarm:
        first, second = swarm.start(await_others=1), swarm.start(await_others=1)
        first.wait_for(lambda e: e["event"] == "applied" and e["round"] == 3)
        late = swarm.start()
        peers = swarm.finish()
        assert late.every("synced")
        assert late.every("applied")[0]["round"] > 3
        assert not disputed(digests(peers))
        assert second.every("applied")[-1]["members"] == 3


def test_a_peer_with_another_digest_is_told_to_resync_before_it_goes_on() -> None:
    with exchange_peers(rounds=6, await_others=2) as swarm:
        swarm.start()
        swarm.start()
        liar = swarm.start(lie_from=2)
        peers = swarm.finish()
        refused = liar.every("not_applied")
        assert any("differs from the majority" in event["why"] for event in refused)
        assert liar.every("synced")
        assert not disputed(digests(peers))


@pytest.mark.parametrize(
    ("way", "victim"),
    [
        pytest.param({"codec": "none"}, LEADER, marks=pytest.mark.long),
        pytest.param({"codec": "none"}, FOLLOWER, marks=pytest.mark.long),
        ({"codec": "fp16", "clipped": True}, LEADER),
        pytest.param({"codec": "fp16", "clipped": True}, FOLLOWER, marks=pytest.mark.long),
        pytest.param({"local": "sparse"}, LEADER, marks=pytest.mark.long),
        pytest.param({"local": "sparse"}, FOLLOWER, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_kill_9_in_the_middle_of_an_exchange_costs_the_others_seconds_and_no_digest(
    way: dict[str, Any], victim: int, tmp_path: Path
) -> None:
    """Seconds, although an exchange may take a minute and a round waits a quarter of one for those who are slow."""
    with exchange_peers(**way, rounds=15, pace=0.05, await_others=2, patience=60.0, grace=15.0) as swarm:
        peers = [swarm.start(faults.planned(tmp_path) if number == victim else {}) for number in range(3)]
        peers[victim].wait_for(lambda e: e["event"] == "applied" and e["round"] == 4)
        faults.at(tmp_path, "exchange")
        others = [peer for peer in peers if peer is not peers[victim]]
        for peer in others:
            assert peer.finish(50) == 0, peer.stderr
        found = digests(others)
        assert max(found) == 15
        assert not disputed(found)
        assert faults.happened(tmp_path)
        assert max(event["seconds"] for event in others[0].every("applied") + others[0].every("not_applied")) < 10


@pytest.mark.parametrize("frozen", [LEADER, pytest.param(FOLLOWER, marks=pytest.mark.long)])
def test_a_frozen_peer_does_not_stop_the_others(frozen: int) -> None:
    """A follower costs the grace time, a leader what its call and its record take to run out."""
    with exchange_peers(rounds=8, pace=0.05, await_others=2, grace=2.0, patience=6.0) as swarm:
        peers = [swarm.start(**({"freeze_at": 3} if index == frozen else {})) for index in range(3)]
        others = [peer for index, peer in enumerate(peers) if index != frozen]
        for peer in others:
            assert peer.finish(50) == 0, peer.stderr
        assert not disputed(digests(others))
        slowest = max(event["seconds"] for event in others[0].every("applied") + others[0].every("not_applied"))
        assert slowest < (12.0 if frozen == LEADER else 5.0)
        peers[frozen].process.send_signal(signal.SIGCONT)


def test_nothing_survives_kill_9_of_a_peer() -> None:
    """Its DHT process and p2pd would answer the swarm as ghosts; the fixture looks for them."""
    with exchange_peers(rounds=1000) as swarm:
        peer = swarm.start()
        peer.wait_for(lambda e: e["event"] == "applied")
        peer.kill()
        peer.process.wait()
