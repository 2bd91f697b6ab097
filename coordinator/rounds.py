"""What the members' reports say together of one round. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from immutables import Map

from coordinator.records import Metrics


@dataclass(frozen=True)
class RoundSummary:
    """One round for the eye; `samples`, `members` and `global_samples` as the majority saw them."""

    round: int
    samples: int
    members: int
    global_samples: int
    loss: float  # mean over reporting members, weighted by their samples
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
    """The reports of one round by member, how many name each digest, and how many have no finite loss."""

    votes: Map[str, Metrics] = Map()
    named: Map[str, int] = Map()
    diverged: int = 0

    def plus(self, member: str, vote: Metrics) -> Poll:
        """With a member's vote, in place of an earlier one of its own."""
        named, diverged, before = self.named, self.diverged + (not math.isfinite(vote.loss)), self.votes.get(member)
        if before is not None:
            left = named[before.digest] - 1
            named = named.set(before.digest, left) if left else named.delete(before.digest)
            diverged -= not math.isfinite(before.loss)
        return Poll(self.votes.set(member, vote), named.set(vote.digest, named.get(vote.digest, 0) + 1), diverged)

    @property
    def majority(self) -> str:
        """The digest that most reports name; of equally many, the lowest, so that the order of arrival decides nothing.

        Empty before the first report.
        """
        return min(self.named, key=lambda digest: (-self.named[digest], digest), default="")

    @property
    def minority(self) -> tuple[str, ...]:
        """The members whose digest is not the majority's, in the order of their ids."""
        if len(self.named) < 2:
            return ()
        top = self.majority
        return tuple(sorted(member for member, vote in self.votes.items() if vote.digest != top))

    def contradicts(self, digest: str) -> bool:
        """Whether more than half of the reports agree on a digest other than `digest`."""
        top = self.majority
        return bool(top) and top != digest and 2 * self.named[top] > len(self.votes)

    def outvotes(self, digest: str) -> bool:
        """Whether more than half of those who made the round name one digest, and it is not `digest`."""
        if not self.contradicts(digest):
            return False
        top = self.majority
        return 2 * self.named[top] > max(vote.group_size for vote in self.votes.values() if vote.digest == top)

    @property
    def told(self) -> Metrics:
        """What the first of the majority's members says of the round; there must be a vote."""
        digest = self.majority
        return self.votes[min(member for member, vote in self.votes.items() if vote.digest == digest)]

    def summary(self, round_: int) -> RoundSummary:
        """The round as the majority saw it; there must be a vote."""
        first, every = self.told, list(self.votes.values())
        weight = sum(vote.own_samples for vote in every)
        return RoundSummary(
            round=round_,
            samples=first.swarm_samples,
            members=max(first.group_size, len(every)),
            global_samples=first.global_samples,
            loss=sum(vote.loss * vote.own_samples for vote in every) / max(1, weight),
            digest=first.digest,
            agreed=len(self.named) == 1,
            compute_seconds=max(vote.compute_seconds for vote in every),
            exchange_seconds=max(vote.exchange_seconds for vote in every),
            bytes_sent=sum(vote.bytes_sent for vote in every),
            bytes_received=sum(vote.bytes_received for vote in every),
            finished_at=max(vote.finished_at for vote in every),
            votes=self.votes,
        )
