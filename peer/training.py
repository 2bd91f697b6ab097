"""The training loop, one for every mode: accumulate an update, exchange it, apply the result."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from peer.exchange.base import Applied, Exchange, Phase, Result, Resync, Retry
from peer.feed import Batch
from peer.learner import Learner
from peer.leases import LeasedRange
from peer.orders import Orders
from swarm.moments import reach

_IDLE_SECONDS = 0.05  # between looks while there is nothing to train on
_RETRY_SECONDS = 0.1
_LOOK_SECONDS = 5.0  # without work, before the coordinator is asked how far the run is


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
    used: list[LeasedRange] = field(default_factory=list)

    @property
    def mean_loss(self) -> float:
        return self.loss / self.samples if self.samples else float("nan")

    def add(self, later: Work) -> None:
        """What was done later goes into the same round."""
        self.samples += later.samples
        self.loss += later.loss
        self.compute += later.compute
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
    dropped_why: str = ""


class Listener(Protocol):
    """Who wants to know: the worker passes it on to the supervisor."""

    def phase(self, phase: str, why: str, work: Work, members: int, rate: float) -> None:
        """What the peer does now; `why` is empty when it simply trains, `rate` is in samples per second."""

    def round_done(self, done: RoundDone) -> None:
        """A round ended, with or without this peer's samples."""


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
    work: Work = field(default_factory=lambda: Work(time.monotonic()))
    rate: float = 0.0  # samples per second of compute, smoothed
    busy: float = 0.0  # when it last computed or looked whether the run went on
    travel: Travel | None = None
    traveller: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "exchange"))

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


def train(peer: Peer) -> None:
    """Train until the run's last round is done, or as the orders want it."""
    while not peer.finished and not peer.orders.stop.is_set() and not peer.drained:
        if peer.travel:
            _travel_on(peer, peer.travel)
        else:
            _go_on(peer)


def _go_on(peer: Peer) -> None:
    """One step of a round: a batch, its end, or a look around."""
    room = peer.learner.room()
    view = peer.exchange.progress(peer.learner.round, peer.work.samples, peer.rate, done=not room)
    ends = view.phase is Phase.CLOSING
    if view.phase is Phase.BEHIND:
        _catch_up(peer, view.why)
    elif peer.overlaps and (ends or not room):
        _depart(peer, view.members)
    elif ends:
        _end_round(peer, view.members)
    elif not room:
        _await_others(peer, view.members)
    elif batch := peer.source.take(_batch_size(peer, room)):
        _promise(peer, batch)
        _learn(peer, batch, view.members)
    else:
        _idle(peer, view.members)


def _depart(peer: Peer, members: int) -> None:
    """Let the update travel; what is done from now on is the next round's."""
    update = peer.learner.update(peer.work.samples)
    now = time.monotonic()
    peer.travel = Travel(peer.work, now, members, peer.traveller.submit(peer.exchange.exchange, update))
    peer.work = Work(now)


def _travel_on(peer: Peer, travel: Travel) -> None:
    """One step of the next round while the last one's update travels."""
    if travel.result.done():
        _arrive(peer, travel)
    elif not (room := peer.learner.room()) or peer.last_round or peer.orders.drain.is_set():
        _tell(peer, "exchanging", "the next round begins when the swarm's update has come", travel.members)
        wait([travel.result], _IDLE_SECONDS)
    elif batch := peer.source.take(_batch_size(peer, room)):
        _learn(peer, batch, travel.members)
    else:
        _tell(peer, "waiting", peer.source.why, travel.members)
        wait([travel.result], _IDLE_SECONDS)


def _arrive(peer: Peer, travel: Travel) -> None:
    peer.travel, result = None, travel.result.result()
    if isinstance(result, Applied):
        peer.learner.apply(result)
        _say_done(peer, result, travel.work, travel.departed)
        return
    travel.work.add(peer.work)
    peer.work = travel.work
    peer.learner.recall()
    _not_applied(peer, result, travel.members)


def _idle(peer: Peer, members: int) -> None:
    """Nothing to train on. When that lasts, the run may have gone on, or to its end, while nobody could say so."""
    _tell(peer, "waiting", peer.source.why, members)
    time.sleep(_IDLE_SECONDS)
    if time.monotonic() - max(peer.busy, peer.work.started) < _LOOK_SECONDS:
        return
    peer.busy = time.monotonic()
    if path := peer.latest_checkpoint():
        _take_over(peer, path, peer.source.why)


def _await_others(peer: Peer, members: int) -> None:
    """All steps of this round are done."""
    _tell(peer, "waiting", "this peer's steps are done; the round closes when the others' are", members)
    peer.orders.stop.wait(_IDLE_SECONDS)
    peer.busy = time.monotonic()


def _batch_size(peer: Peer, room: int) -> int:
    """As many samples as fit, and no more than are done in half of the grace time: a round that closes waits for the
    batch that everybody has begun, and a slow peer's must not be missed.
    """
    in_time = int(peer.rate * peer.learner.spec.exchange.grace_seconds / 2)
    return min(room, max(1, in_time)) if peer.rate else room


def _promise(peer: Peer, batch: Batch) -> None:
    """Say what is about to be computed, so that the round closes when the swarm's last batches are begun.

    Closing only when they are done would let everybody begin one more.
    """
    peer.exchange.progress(peer.learner.round, peer.work.samples + len(batch.samples), peer.rate)


def _learn(peer: Peer, batch: Batch, members: int) -> None:
    reach("train")
    started = time.perf_counter()
    peer.work.loss += peer.learner.learn(batch.samples)
    seconds = time.perf_counter() - started
    peer.work.samples += len(batch.samples)
    peer.work.compute += seconds
    peer.work.used.append(batch.source)
    peer.busy = time.monotonic()
    peer.rate = _smooth(peer.rate, peer.orders.duty * len(batch.samples) / seconds)
    _tell(peer, "training", "", members)
    peer.orders.rest(seconds)


def _end_round(peer: Peer, members: int) -> None:
    _tell(peer, "exchanging", "the swarm's samples are complete", members)
    learner = peer.learner
    result = peer.exchange.exchange(learner.update(peer.work.samples))
    if not isinstance(result, Applied):
        _not_applied(peer, result, members)
        return
    reach("apply")
    learner.apply(result)
    work, now = peer.work, time.monotonic()
    peer.work = Work(now)
    _say_done(peer, result, work, now)


def _not_applied(peer: Peer, result: Result, members: int) -> None:
    if isinstance(result, Resync):
        _catch_up(peer, result.why)
    elif isinstance(result, Retry):
        _tell(peer, "waiting", result.why, members)
        peer.orders.stop.wait(_RETRY_SECONDS)


def _say_done(peer: Peer, result: Applied, work: Work, ended: float) -> None:
    """A round ended with `work` in it; `ended` is when its last batch was done and all was exchanged, or departed."""
    learner = peer.learner
    peer.listener.round_done(
        RoundDone(
            round=learner.round - 1,
            digest=learner.digest,
            swarm_samples=result.samples,
            global_samples=learner.global_samples,
            members=result.members,
            work=work,
            seconds=ended - work.started,
            bytes_sent=result.bytes_sent,
            bytes_received=result.bytes_received,
        )
    )


def _catch_up(peer: Peer, why: str) -> None:
    """Fetch the agreed state; what was accumulated at the old one is dropped and said so."""
    _tell(peer, "syncing", why, 0)
    reach("sync")
    path = _newer_state(peer)
    if path is None:
        peer.orders.stop.wait(1.0)
        return
    _take_over(peer, path, why)


def _take_over(peer: Peer, path: Path, why: str) -> None:
    missed, work = peer.learner.round, peer.work
    peer.learner.load(path)
    peer.work = Work(time.monotonic())
    if work.samples:
        peer.listener.round_done(_dropped(peer, missed, work, why))


def _newer_state(peer: Peer) -> Path | None:
    fetched = peer.exchange.fetch_state(peer.learner.round, peer.state_folder)
    if fetched and (fetched.round > peer.learner.round or fetched.digest != peer.learner.digest):
        return fetched.path
    return peer.latest_checkpoint()


def _dropped(peer: Peer, round_: int, work: Work, why: str) -> RoundDone:
    seconds = peer.work.started - work.started
    return RoundDone(round_, "", 0, peer.learner.global_samples, 0, work, seconds, dropped_why=why)


def _tell(peer: Peer, phase: str, why: str, members: int) -> None:
    peer.listener.phase(phase, why, peer.work, members, peer.rate)


def _smooth(old: float, new: float) -> float:
    return 0.8 * old + 0.2 * new if old else new
