"""What a peer tells Prometheus: the events of its screen, added up for each of its devices, and what its door says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from peer.door import Door
from peer.neighbour import Decision, Pause
from peer.seats import PeerEvent
from swarm.metrics import PHASES
from swarm.version import __version__

_PAUSED = "paused"
_TRAFFIC = "Bytes that this machine sent and received for all swarms."
_GAUGES = {  # keys of an event, the metric's name and what it means
    "round": ("round", "The round that the peer works on."),
    "samples": ("samples_in_round", "Its samples in that round so far."),
    "loss": ("loss", "Its training loss in that round so far, in nats per token."),
    "rate": ("samples_per_second", "What it computes, smoothed."),
    "members": ("swarm_members", "Members of the swarm, as it sees them."),
    "unheard": ("unheard_samples", "Samples in reports that the coordinator has not answered yet."),
    "share": ("share", "What each sample weighs that is lent now: 1 is full, 0 is probation."),
    "heldout": ("heldout_loss", "The run's newest loss on the held-out samples, in nats per token."),
    "celsius": ("gpu_celsius", "Temperature of the GPU."),
    "watts": ("gpu_watts", "Power that the GPU draws."),
}
_COUNTERS = {  # the metric's name, its label, and what it means
    "samples": ("outcome", "Samples that the coordinator counted or rejected since the start."),
    "rounds": ("outcome", "Rounds that ended with this peer's samples (counted), or without (dropped)."),
    "update_bytes": ("direction", "Bytes of updates in finished rounds."),
    "round_seconds": ("part", "Time of finished rounds: computing, and all the rest (exchange)."),
    "quarantines": ("fault", "How often it dropped what it had computed."),
}


@dataclass
class Figures:
    """Of one device: the newest numbers, and sums since the start by metric and label."""

    phase: str = "starting"
    now: dict[str, float] = field(default_factory=dict)
    sums: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in _COUNTERS})

    def hear(self, event: PeerEvent) -> None:
        """Take up what an event of the screen says."""
        self.phase = event.get("phase", self.phase)
        self.sums["samples"] |= {key: event[key] for key in ("counted", "rejected") if key in event}
        match event["event"]:
            case "status" | "standing" | "machine":
                self._take(event)
            case "heldout":
                self._take({"heldout": event["loss"]})
            case "round":
                self._round(event)
            case "quarantine":
                self.sums["quarantines"][str(event["fault"])] += 1
            case "pause":
                self.phase = _PAUSED if event["text"] else "starting"
                self._take({"rate": 0.0})

    def _take(self, numbers: Mapping[str, Any]) -> None:
        self.now |= {key: float(numbers[key]) for key in _GAUGES if numbers.get(key) is not None}

    def _round(self, done: PeerEvent) -> None:
        self.sums["rounds"]["dropped" if done["dropped_why"] else "counted"] += 1
        self.sums["update_bytes"].update(sent=done["sent"], received=done["received"])
        rest = max(0.0, done["seconds"] - done["compute"])
        self.sums["round_seconds"].update({"compute": done["compute"], "exchange": rest})


class PeerMetrics(Collector):
    """Of a peer with these devices in the run `run`. A device that an event does not name is the only one."""

    def __init__(self, run: str, devices: Sequence[str], door: Door) -> None:
        self._run = run
        self._door = door
        self._figures = {device: Figures() for device in devices}

    def hear(self, event: PeerEvent) -> None:
        """An event for the screen."""
        self._figures[event.get("seat", next(iter(self._figures)))].hear(event)

    def collect(self) -> Iterator[Metric]:
        about = {"run": self._run, "version": __version__}
        yield InfoMetricFamily("garage_swarm_peer", "Which run this peer is in, and its version.", value=about)
        yield from _of_door(self._door.decision())
        moved, figures = _family(GaugeMetricFamily, "traffic_bytes", _TRAFFIC, "since"), self._door.figures()
        for since in ("today", "month"):
            moved.add_metric([since], figures[since])
        yield moved
        yield from families(self._figures)


def families(figures: Mapping[str, Figures]) -> Iterator[Metric]:
    """What there is of each device."""
    doing = _family(GaugeMetricFamily, "phase", "1 for what the peer does now.", "device", "phase")
    for device, one in figures.items():
        for phase in (*PHASES, _PAUSED):
            doing.add_metric([device, phase], phase == one.phase)
    yield doing
    for key, (name, says) in _GAUGES.items():
        gauge = _family(GaugeMetricFamily, name, says, "device")
        for device, one in figures.items():
            if key in one.now:
                gauge.add_metric([device], one.now[key])
        yield gauge
    for name, (label, says) in _COUNTERS.items():
        counter = _family(CounterMetricFamily, name, says, "device", label)
        for device, one in figures.items():
            for value, total in sorted(one.sums[name].items()):
                counter.add_metric([device, value], total)
        yield counter


def _of_door(decision: Decision) -> Iterator[Metric]:
    """The rule is a setting's name, so there are few."""
    closed = isinstance(decision, Pause)
    yield GaugeMetricFamily("garage_swarm_peer_may_train", "1 while no rule speaks against it.", value=not closed)
    why = InfoMetricFamily("garage_swarm_peer_pause", "The rule that keeps it from training.", labels=[])
    if isinstance(decision, Pause):
        why.add_metric([], {"rule": decision.rule or "swarm pause"})
    yield why


def _family(kind: Callable[..., Any], name: str, says: str, *labels: str) -> Any:
    return kind(f"garage_swarm_peer_{name}", says, labels=list(labels))
