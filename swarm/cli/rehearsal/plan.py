"""What a rehearsal begins with: all of it is said to the reader, because the figures are no better than it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import RunSpec

MEGABIT = 1e6 / 8  # bytes


@dataclass(frozen=True)
class Swarm:
    """The supposed volunteers. Links in Mbit/s, `latency` (there and back) and `away` in seconds, `night` in hours.

    Each of them is gone `churn` times an hour on the average, without a goodbye, and is back `away` seconds later, on
    the average. The speeds' logarithms spread by `spread`, those of the links by `link_spread` (standard deviations);
    the part `slow` of the peers computes at a quarter. `attackers` of the peers lie in every round.
    """

    peers: int = 8
    churn: float = 0.1
    attackers: int = 0
    uplink: float = 20.0
    downlink: float = 100.0
    night: float = 8.0
    latency: float = 0.04
    away: float = 600.0
    spread: float = 0.3
    link_spread: float = 0.2
    slow: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Speed:
    """Of a usual peer: `rate` in samples per second while it computes, at most `micro_batch` at once; seconds at a
    round's end without the exchange (`settle`), and beside that for each member's update (`merge`). `why` says where
    that comes from.
    """

    rate: float
    micro_batch: int
    settle: float = 0.0
    merge: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """A run as it would be launched. `run` holds its files' sizes as members hear them, `payload` is what one update
    takes on a line (bytes), `epoch` the samples to train on (0: not known), `disk_free` is here (bytes).

    `prepared`: the sizes are those of the run's files; else they are estimates.
    """

    spec: RunSpec
    run: pb.Run
    payload: int
    epoch: int
    speed: Speed
    swarm: Swarm
    prepared: bool = False
    disk_free: int = 0
    config: Mapping[str, int] = field(default_factory=dict)

    @property
    def state(self) -> int:
        """Bytes of a state file."""
        return self.run.latest.size

    @property
    def local(self) -> bool:
        return self.spec.training.mode == "local"

    @property
    def overlaps(self) -> bool:
        return self.local and self.spec.local.overlap

    @property
    def share(self) -> int:
        """The most samples of a peer in a round of local mode."""
        return self.spec.local.steps * self.spec.local.batch_size
