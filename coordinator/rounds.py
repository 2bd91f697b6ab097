"""What the members' reports say together of one round. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from immutables import Map

from coordinator.records import Metrics


@dataclass(frozen=True)
class RoundSummary:
    """One round for the eye; `samples`, `members` and `global_samples` as the majority saw them."""

    round: int
    samples: int
    members: int
    global_samples: int
    loss: float  # mean over reporting members, weighted by their samples, at most twice the median
    digest: str
    agreed: bool
    compute_seconds: float
    exchange_seconds: float
    finished_at: float
    bytes_sent: int = 0  # of all reporting members together
    bytes_received: int = 0
    votes: Map[str, Metrics] = Map()  # every reporting member's own account


@dataclass(frozen=True)
class Poll:
    """The reports of one round by member, how many name each digest, and how many have no finite loss. `agreed` is the
    state that is the run's (`coordinator.quorum`), empty until there is one.
    """

    votes: Map[str, Metrics] = Map()
    named: Map[str, int] = Map()
    diverged: int = 0
    agreed: str = ""

    def plus(self, member: str, vote: Metrics) -> Poll:
        """With a member's vote, in place of an earlier one of its own."""
        others = self.minus(member) if member in self.votes else self
        named = others.named.set(vote.digest, others.named.get(vote.digest, 0) + 1)
        diverged = others.diverged + (not math.isfinite(vote.loss))
        return Poll(others.votes.set(member, vote), named, diverged, self.agreed)

    def minus(self, member: str) -> Poll:
        """Without the vote of a member that has one."""
        before, named = self.votes[member], self.named
        left = named[before.digest] - 1
        named = named.set(before.digest, left) if left else named.delete(before.digest)
        diverged = self.diverged - (not math.isfinite(before.loss))
        return Poll(self.votes.delete(member), named, diverged, self.agreed)

    @property
    def majority(self) -> str:
        """The digest that was agreed on, else the one that most reports name; of equally many, the lowest, so that the
        order of arrival decides nothing. Empty before the first report.
        """
        return self.agreed or min(self.named, key=lambda digest: (-self.named[digest], digest), default="")

    @property
    def minority(self) -> tuple[str, ...]:
        """The members whose digest is not the majority's, in the order of their ids."""
        if len(self.named) < 2:
            return ()
        top = self.majority
        return tuple(sorted(member for member, vote in self.votes.items() if vote.digest != top))

    def contradicts(self, digest: str) -> bool:
        """Whether another digest was agreed on or, before one is, more than half of the reports name another one."""
        top = self.majority
        return bool(top) and top != digest and bool(self.agreed or 2 * self.named[top] > len(self.votes))

    @property
    def told(self) -> Metrics:
        """What the first of the majority's members says of the round; there must be a vote."""
        digest = self.majority
        return self.votes[min(member for member, vote in self.votes.items() if vote.digest == digest)]

    def summary(self, round_: int) -> RoundSummary:
        """The round as the majority saw it; there must be a vote."""
        first, every = self.told, list(self.votes.values())
        most = 2 * median(vote.own_samples for vote in every)  # as in the mean: what a member says alone moves little
        weights = [min(vote.own_samples, most) for vote in every]
        return RoundSummary(
            round=round_,
            samples=first.swarm_samples,
            members=max(first.group_size, len(every)),
            global_samples=first.global_samples,
            loss=sum(vote.loss * weight for vote, weight in zip(every, weights, strict=True)) / max(1, sum(weights)),
            digest=first.digest,
            agreed=len(self.named) == 1,
            compute_seconds=max(vote.compute_seconds for vote in every),
            exchange_seconds=max(vote.exchange_seconds for vote in every),
            bytes_sent=sum(vote.bytes_sent for vote in every),
            bytes_received=sum(vote.bytes_received for vote in every),
            finished_at=max(vote.finished_at for vote in every),
            votes=self.votes,
        )


def reached(votes: Mapping[int, Poll]) -> int:
    """How many rounds are done, as the members agree."""
    return max((number for number, poll in votes.items() if poll.agreed), default=-1) + 1


# ── decisions ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class DigestsDiffer:
    round: int
    majority: str
    others: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"Round {self.round}: {', '.join(self.others)} reported another digest than the majority's "
            f"{self.majority[:12]} and must take the state from the others."
        )


@dataclass(frozen=True)
class RoundAgreed:
    """The round is the run's, and made the state of that digest."""

    round: int
    digest: str

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class VoteForgotten:
    """A member said too much of rounds that nobody else speaks of."""

    round: int
    member: str

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class ReportDeferred:
    """A report is not taken yet: it has to be sent again later."""

    round: int
    member: str

    def __str__(self) -> str:
        return ""


RoundDecision = DigestsDiffer | RoundAgreed | VoteForgotten | ReportDeferred
