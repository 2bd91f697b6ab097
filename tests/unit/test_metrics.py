"""Metrics: what a run's state and a peer's events become, and that nothing in them grows with members."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from coordinator import decisions as d
from coordinator.metrics import RunMetrics
from coordinator.records import Evaluation
from coordinator.state import State
from peer.door import Door
from peer.metrics import PeerMetrics
from peer.neighbour import Observed
from peer.traffic import Traffic
from swarm.errors import UsageError
from swarm.metrics import Address, address
from swarm.neighbour import Limits, Neighbour, When, save
from tests.histories import History, fresh


class Sunday:
    """A machine at noon of a Sunday."""

    def now(self) -> datetime:
        return datetime.fromisoformat("2026-11-29T12:00:00+01:00")

    def look(self, _when: When) -> Observed:
        return Observed()


def values(collector: Collector) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and its labels' values."""
    registry = CollectorRegistry()
    registry.register(collector)
    found = [sample for family in registry.collect() for sample in family.samples]
    assert len({(sample.name, *sample.labels.items()) for sample in found}) == len(found)
    return {(sample.name, tuple(sample.labels.values())): sample.value for sample in found}


def of_run(state: State, *scores: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return values(RunMetrics(lambda: state, dict, scores))


def lived(steps: int = 300, seed: int = 5) -> State:
    history = History(seed)
    for _ in history.steps(steps):
        pass
    return history.state


def test_a_run_that_has_not_begun_has_no_round_to_tell_of() -> None:
    told = of_run(fresh())
    assert told["garage_swarm_round", ()] == 0
    assert told["garage_swarm_rounds_planned", ()] == 40
    assert not [name for name, _ in told if name.startswith(("garage_swarm_round_", "garage_swarm_heldout"))]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_told_of_a_run_is_its_state(seed: int) -> None:
    state = lived(seed=seed)
    told = of_run(state)
    assert told["garage_swarm_round", ()] == state.round
    assert told["garage_swarm_counted_samples", ()] == state.ledger.counted_samples
    members = sum(count for (name, _), count in told.items() if name == "garage_swarm_members")
    assert members == len(state.live)
    assert told["garage_swarm_members_on_probation", ()] == sum(bool(state.probation(m)) for m in state.live)
    assert told["garage_swarm_samples_per_second", ()] == pytest.approx(
        sum(member.pulse.samples_per_second for member in state.live)
    )


def test_the_round_that_is_told_has_all_its_reports() -> None:
    state = lived()
    number = int(of_run(state)["garage_swarm_reported_round", ()])
    assert number == state.round - (1 if state.complete else 2)
    summary = state.votes[number].summary(number)
    assert of_run(state)["garage_swarm_round_loss", ()] == summary.loss


def test_a_strangers_words_make_no_series() -> None:
    state = lived()
    odd = [replace(m, live=True, pulse=replace(m.pulse, phase=f"p{n}")) for n, m in enumerate(state.members.values())]
    found = Evaluation(3, "d3", 1.5, {"bleu": 0.2, "mine": 9.0})
    told = of_run(replace(state.with_members(odd), evaluations={3: found}), "bleu")
    assert told["garage_swarm_members", ("other",)] == len(odd)
    assert {labels for name, labels in told if name == "garage_swarm_heldout_score"} == {("bleu",)}
    assert told["garage_swarm_heldout_loss", ()] == 1.5


def test_decisions_are_counted_by_kind_and_trackers_by_name() -> None:
    metrics = RunMetrics(fresh, lambda: {"wandb": 3})
    for round_ in range(3):
        metrics.decided(d.RoundAdvanced(round_, False))
    told = values(metrics)
    assert told["garage_swarm_decisions_total", ("RoundAdvanced",)] == 3
    assert told["garage_swarm_tracker_dropped_total", ("wandb",)] == 3


# ── a peer ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "config.toml", Sunday(), Traffic(tmp_path / "traffic.sqlite"))


def status(**values: Any) -> dict[str, Any]:
    return {"event": "status", "phase": "training", "why": "", "round": 3, "samples": 8, **values}


def done(**values: Any) -> dict[str, Any]:
    told = {"round": 3, "seconds": 5.0, "compute": 3.0, "sent": 10, "received": 20, "dropped_why": "", "samples": 8}
    return {"event": "round", **told, **values}


def test_a_peers_events_add_up(door: Door) -> None:
    metrics = PeerMetrics("law", ["cpu"], door)
    for event in (
        status(loss=2.5, rate=7.0, members=3, counted=0, rejected=0),
        done(),
        done(dropped_why="it came too late", counted=8),
        {"event": "standing", "counted": 16, "rejected": 4, "share": 0.5, "unheard": 2, "probation": ""},
        {"event": "quarantine", "fault": "not-finite", "why": "nan", "round": 4, "in_a_row": 1},
        {"event": "machine", "name": "card", "celsius": 61.0, "watts": 120.0, "today": 1, "month": 2, "until": ""},
        {"event": "heldout", "round": 3, "loss": 2.25, "metrics": {}},
        {"event": "note", "text": "hello"},
        {"event": "end", "counted": 16, "rejected": 4, "finished": True},
    ):
        metrics.hear(event)
    told = values(metrics)
    assert told["garage_swarm_peer_loss", ("cpu",)] == 2.5
    assert told["garage_swarm_peer_samples_total", ("cpu", "counted")] == 16
    assert told["garage_swarm_peer_samples_total", ("cpu", "rejected")] == 4
    assert told["garage_swarm_peer_rounds_total", ("cpu", "dropped")] == 1
    assert told["garage_swarm_peer_update_bytes_total", ("cpu", "received")] == 40
    assert told["garage_swarm_peer_round_seconds_total", ("cpu", "exchange")] == 4.0
    assert told["garage_swarm_peer_quarantines_total", ("cpu", "not-finite")] == 1
    assert told["garage_swarm_peer_gpu_watts", ("cpu",)] == 120.0
    assert told["garage_swarm_peer_heldout_loss", ("cpu",)] == 2.25
    assert told["garage_swarm_peer_phase", ("cpu", "training")] == 1
    assert told["garage_swarm_peer_may_train", ()] == 1


def test_each_device_has_its_own_numbers(door: Door) -> None:
    metrics = PeerMetrics("law", ["cuda:0", "cuda:1"], door)
    metrics.hear({**status(rate=1.0), "seat": "cuda:0"})
    metrics.hear({**status(rate=2.0), "seat": "cuda:1"})
    told = values(metrics)
    assert [told["garage_swarm_peer_samples_per_second", (device,)] for device in ("cuda:0", "cuda:1")] == [1.0, 2.0]


def test_a_pause_is_told_by_its_rule(door: Door, tmp_path: Path) -> None:
    metrics = PeerMetrics("law", ["cpu"], door)
    metrics.hear(status(rate=7.0))
    save(Neighbour(when=When(hours=("Mon 08:00-09:00",)), limits=Limits()), tmp_path / "config.toml")
    metrics.hear({"event": "pause", "text": "paused until Mon 08:00: outside the hours Mon 08:00-09:00"})
    told = values(metrics)
    assert told["garage_swarm_peer_pause_info", ("when.hours",)] == 1
    assert told["garage_swarm_peer_may_train", ()] == 0
    assert told["garage_swarm_peer_phase", ("cpu", "paused")] == 1
    assert told["garage_swarm_peer_samples_per_second", ("cpu",)] == 0
    door.pause()
    assert values(metrics)["garage_swarm_peer_pause_info", ("swarm pause",)] == 1


def test_counters_do_not_fall(door: Door) -> None:
    metrics = PeerMetrics("law", ["cpu"], door)
    for counted in (40, 12):  # a restored coordinator may know of less
        metrics.hear({"event": "standing", "counted": counted, "rejected": 0})
    assert values(metrics)["garage_swarm_peer_samples_total", ("cpu", "counted")] == 40


# ── where ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("9400", Address("127.0.0.1", 9400), "http://127.0.0.1:9400/metrics"),
        ("0.0.0.0:0", Address("0.0.0.0", 0), "http://0.0.0.0:0/metrics"),
        ("[::1]:9400", Address("::1", 9400), "http://[::1]:9400/metrics"),
    ],
)
def test_an_address_is_a_port_or_host_and_port(text: str, expected: Address, shown: str) -> None:
    assert address(text) == expected
    assert str(expected) == shown


@pytest.mark.parametrize("text", ["x", "", "host:", "70000", "-1", "1.2.3.4", "²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no address for metrics"):
        address(text)
