"""Passes on to the supervisor what happens in the training loop: phases, rounds, checkpoints, evaluations."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from peer.bridge import Bridge
from peer.exchange.base import Exchange
from peer.health import Finding
from peer.learner import Learner
from peer.measuring import Measuring
from peer.workbench import RoundDone, Work
from swarm import log
from swarm.errors import from_os_error
from swarm.moments import reach

if TYPE_CHECKING:
    from peer.spans import Spans

_SAY_SECONDS = 0.5


@dataclass
class Teller:
    """Passes on what happens to the supervisor; the same phase at most twice a second."""

    bridge: Bridge
    exchange: Exchange
    learner: Learner
    measuring: Measuring
    last: str = ""
    said: float = 0.0
    checkpointed: int = 0  # the round of the newest state that the coordinator has or was offered
    measured: int = -1  # the round that was evaluated last
    per_round: float = 0.0  # own samples in a round; falls slowly, 0 before the first
    spans: Spans | None = None  # where rounds are traced

    def phase(self, phase: str, why: str, work: Work, members: int, rate: float) -> None:
        log.about(round=self.learner.round)
        now = time.monotonic()
        if phase == self.last and now - self.said < _SAY_SECONDS:
            return
        self.last, self.said = phase, now
        self.bridge.notify(
            "phase",
            phase=phase,
            why=why,
            round=self.learner.round,
            digest=self.learner.digest,
            samples=work.samples,
            loss=work.mean_loss if work.samples else None,
            members=members,
            rate=rate,
        )

    def round_done(self, done: RoundDone) -> None:
        reach("report")
        if self.spans:
            self.spans.round_done(done)
        self.per_round = max(done.work.samples, 0.9 * self.per_round)
        used = [[item.lease_id, *item.range] for item in done.work.used]
        self.bridge.notify(
            "round",
            round=done.round,
            digest=done.digest,
            swarm_samples=done.swarm_samples,
            global_samples=done.global_samples,
            members=done.members,
            used=used,
            samples=done.work.samples,
            loss=done.work.mean_loss if done.work.samples else None,
            compute=done.work.compute,
            seconds=done.seconds,
            sent=done.bytes_sent,
            received=done.bytes_received,
            dropped_why=done.dropped_why,
        )
        if done.dropped_why or not self.learner.sound:
            return
        if self.learner.round % self.learner.spec.checkpoint.every_rounds == 0 and self.exchange.leads():
            self.checkpoint(Path(tempfile.gettempdir()))
        self.evaluate()

    def quarantined(self, finding: Finding, round_: int, in_a_row: int) -> None:
        self.bridge.notify("quarantined", fault=finding.fault, why=finding.why, round=round_, in_a_row=in_a_row)

    def evaluate(self) -> None:
        """Measure θ when it is due and this peer is the one to do it; the coordinator hears the result."""
        round_, spec = self.learner.round, self.learner.spec
        due = round_ % spec.evaluation.every_rounds == 0 or round_ == spec.training.rounds
        if not due or round_ == self.measured or not self.exchange.evaluates(round_):
            return
        self.measured = round_
        self.bridge.notify("phase", phase="evaluating", why=f"measuring the model of round {round_}", round=round_)
        with self.learner.agreed():
            found = self.measuring.measure(self.learner.gradients.micro_batch, round_)
        self.bridge.notify(
            "evaluated",
            round=round_,
            digest=self.learner.digest,
            heldout_loss=found.heldout_loss,
            metrics=found.metrics,
            samples=[{"prompt": prompt, "text": text} for prompt, text in found.texts.items()],
        )

    def parting(self) -> None:
        """This peer says goodbye to the others next: they go on without it, and it must not be waited for."""
        self.bridge.call("parting", number=self.learner.round)

    def checkpoint(self, folder: Path) -> None:
        """Hand the agreed state to the supervisor, for the coordinator; it moves the file away."""
        if self.checkpointed == self.learner.round:
            return
        reach("checkpoint")
        try:
            made = self.learner.snapshot(folder)
        except OSError as error:
            self.bridge.notify("note", text=str(from_os_error(error, "writing the state for a checkpoint")))
            return
        if made is None:
            return
        path, round_, digest = made
        self.checkpointed = round_
        self.bridge.call(
            "checkpoint",
            path=str(path),
            round=round_,
            digest=digest,
            global_samples=self.learner.global_samples,
        )
