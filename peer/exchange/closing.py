"""When a round is over. Pure: what the peers said and how long it has lasted come in, a reason comes out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from peer.agreement import FEWEST
from swarm.runspec import RunSpec


@dataclass(frozen=True)
class Said:
    """How far a peer is in a round: its samples, and whether it has done all that it may do."""

    samples: int
    done: bool = False


class Closing(Protocol):
    """A mode's rule."""

    def due(self, said: Collection[Said], lasted: float, waited: float) -> str:
        """Why the round ends now, or nothing. Seconds since it began, and since the first peer had done all."""

    def lacks(self, said: Collection[Said]) -> str:
        """What these peers lack to end the round, or nothing."""

    def news(self, before: Said, now: Said) -> bool:
        """Whether the leader must hear at once what a peer says now."""


@dataclass(frozen=True)
class SampleTarget:
    """Gradient mode: the swarm's samples make a batch, or nobody of those who have any may take more."""

    target: int
    contributors: int = 1

    def due(self, said: Collection[Said], lasted: float, waited: float) -> str:
        """See Closing."""
        if self.lacks(said):
            return ""
        complete = _samples(said) >= self.target
        return "the swarm's samples are complete" if complete else "no peer may take more samples in this round"

    def lacks(self, said: Collection[Said]) -> str:
        """See Closing."""
        found = _samples(said)
        if found < self.target and not (found and all(word.done for word in said if word.samples)):
            return f"{found} of {self.target} samples"
        return _too_few(said, self.contributors)

    def news(self, before: Said, now: Said) -> bool:
        """See Closing."""
        return before != now


@dataclass(frozen=True)
class StepWindow:
    """Local mode: all have done their steps, or the first waited `grace` seconds, or the window is over. Seconds."""

    window: float
    grace: float
    contributors: int

    def due(self, said: Collection[Said], lasted: float, waited: float) -> str:
        """See Closing."""
        if self.lacks(said):
            return ""
        if all(word.done for word in said):
            return "all peers have done their steps"
        if waited >= self.grace:
            return f"the first peer had done its steps {self.grace:g} s ago"
        return "the round's time is over" if lasted >= self.window else ""

    def lacks(self, said: Collection[Said]) -> str:
        """See Closing."""
        return _too_few(said, self.contributors)

    def news(self, before: Said, now: Said) -> bool:
        """See Closing. How many samples there are changes nothing."""
        return (before.samples > 0, before.done) != (now.samples > 0, now.done)


@dataclass(frozen=True)
class Rules:
    """What the run spec says of a round: when it closes, and how long it waits then, in seconds, and for how many (see
    `peer.exchange.rounds.Limits`).
    """

    closing: Closing
    grace: float
    patience: float
    contributors: int = 1


def _samples(said: Collection[Said]) -> int:
    return sum(word.samples for word in said)


def _too_few(said: Collection[Said], needed: int) -> str:
    count = sum(word.samples > 0 for word in said)
    return f"{count} of {needed} contributors" if count < needed else ""


def closing_of(spec: RunSpec) -> Closing:
    """When a round of the run closes."""
    exchange = spec.exchange
    if spec.training.mode == "local":
        return StepWindow(spec.local.window_seconds, exchange.grace_seconds, exchange.min_contributors)
    return SampleTarget(spec.training.target_batch_size, exchange.min_contributors)


def rules_of(spec: RunSpec) -> Rules:
    """The run's. With clipping a round waits for a third although it could be made: of two nobody can say who lies."""
    exchange = spec.exchange
    contributors = max(exchange.min_contributors, FEWEST if exchange.aggregation == "centered_clip" else 1)
    return Rules(closing_of(spec), exchange.grace_seconds, exchange.timeout_seconds, contributors)
