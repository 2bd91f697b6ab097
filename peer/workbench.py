"""What the training loop works with, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from peer.checker import Checker
from peer.exchange.base import Exchange, Result
from peer.feed import Batch
from peer.health import Finding, Health
from peer.learner import Learner
from peer.leases import MOST, LeasedRange, Use, uses_of
from peer.orders import Orders


class Source(Protocol):
    """Where batches come from: a `peer.feed.Feed`, or a script of batches in a test."""

    why: str

    def take(self, count: int) -> Batch | None:
        """At most `count` samples, or None when there is nothing now."""


@dataclass
class Work:
    """What this peer did in the current round. Seconds."""

    started: float
    samples: int = 0
    loss: float = 0.0  # summed over samples
    compute: float = 0.0
    trained: float = 0.0  # when its last batch was done
    used: list[LeasedRange] = field(default_factory=list)

    @property
    def mean_loss(self) -> float:
        return self.loss / self.samples if self.samples else float("nan")

    @property
    def leases(self) -> int:
        """How many leases its samples are of; asked before every batch, and so without summing them up."""
        return len({part.lent for part in self.used if part.lent})

    @property
    def uses(self) -> tuple[Use, ...]:
        """The leases that its samples are of, as others are shown them."""
        return uses_of(self.used)

    def add(self, later: Work) -> None:
        """What was done later goes into the same round."""
        self.samples += later.samples
        self.loss += later.loss
        self.compute += later.compute
        self.trained = max(self.trained, later.trained)
        self.used += later.used


@dataclass(frozen=True)
class Travel:
    """An update on its way while training goes on: what is in it, when it departed, what will come of it."""

    work: Work
    departed: float
    members: int
    result: Future[Result]


@dataclass(frozen=True)
class RoundDone:
    """A finished round as this peer saw it; `dropped_why` is set when its own samples did not make it."""

    round: int
    digest: str
    swarm_samples: int
    global_samples: int
    members: int
    work: Work
    seconds: float
    bytes_sent: int = 0
    bytes_received: int = 0
    apply_seconds: float = 0.0
    dropped_why: str = ""


class Listener(Protocol):
    """Who wants to know: the worker passes it on to the supervisor."""

    def phase(self, phase: str, why: str, work: Work, members: int, rate: float) -> None:
        """What the peer does now; `why` is empty when it simply trains, `rate` is in samples per second."""

    def round_done(self, done: RoundDone) -> None:
        """A round ended, with or without this peer's samples."""

    def quarantined(self, finding: Finding, round_: int, in_a_row: int) -> None:
        """What this peer computed on θ_round is dropped, for the `in_a_row`th time with hardly a round between."""


@dataclass
class Peer:
    """Everything that the loop works with."""

    learner: Learner
    exchange: Exchange
    source: Source
    listener: Listener
    state_folder: Path
    latest_checkpoint: Callable[[], Path | None]  # the coordinator's, when no peer can give its state
    orders: Orders = field(default_factory=Orders)
    checker: Checker | None = None  # of others' work
    work: Work = field(default_factory=lambda: Work(time.monotonic()))
    rate: float = 0.0  # samples per second of compute, smoothed
    busy: float = 0.0  # when it last computed or looked whether the run went on
    travel: Travel | None = None
    traveller: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "exchange"))
    health: Health = field(default_factory=Health)
    finding: Finding | None = None  # why this peer is in quarantine
    quarantined_at: float = 0.0
    ready_at: float = 0.0  # when it may go on at the earliest

    def tell(self, phase: str, why: str, members: int) -> None:
        """Say what this peer does now."""
        self.listener.phase(phase, why, self.work, members, self.rate)

    @property
    def checks(self) -> bool:
        """Whether it does another member's round again, instead of taking part in this one with samples."""
        return self.checker is not None and self.checker.busy and not self.work.samples

    @property
    def full(self) -> bool:
        """Whether its update could show no further lease. What travels may come back and go into the same update."""
        return self.work.leases + (self.travel.work.leases if self.travel else 0) >= MOST

    @property
    def room(self) -> int:
        """How many samples it takes at once now; 0 when it has done all that it may do in this round."""
        return 0 if self.full else self.learner.room()

    @property
    def watched(self) -> str:
        """Whose update it wants to see, for a check that waits for one; as a rule nobody's."""
        return self.checker.awaits(self.learner.round) if self.checker else ""

    @property
    def finished(self) -> bool:
        return self.learner.round >= self.learner.spec.training.rounds

    @property
    def drained(self) -> bool:
        """Whether it shall end, and nothing that it computed waits for a round."""
        return self.orders.drain.is_set() and not self.work.samples and self.travel is None

    @property
    def last_round(self) -> bool:
        return self.learner.round + 1 >= self.learner.spec.training.rounds

    @property
    def overlaps(self) -> bool:
        spec = self.learner.spec
        return spec.training.mode == "local" and spec.local.overlap
