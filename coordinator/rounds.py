"""What the members' reports say together of one round. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
    """The reports of one round by member, how many name each digest, and how many have no finite loss; `light` are
    those who name a digest and have no vote.
    """

    votes: Map[str, Metrics] = Map()
    named: Map[str, int] = Map()
    diverged: int = 0
    light: Map[str, int] = Map()

    def plus(self, member: str, vote: Metrics) -> Poll:
        """With a member's vote, in place of an earlier one of its own."""
        before = self.votes.get(member)
        poll = self._counting(before, -1) if before is not None else self
        return replace(poll._counting(vote, 1), votes=self.votes.set(member, vote))

    def _counting(self, vote: Metrics, by: int) -> Poll:
        if vote.light:
            return replace(self, light=_changed(self.light, vote.digest, by))
        diverged = self.diverged + by * (not math.isfinite(vote.loss))
        return replace(self, named=_changed(self.named, vote.digest, by), diverged=diverged)

    @property
    def counted(self) -> int:
        """How many reports are votes."""
        return sum(self.named.values())

    @property
    def majority(self) -> str:
        """The digest that most votes name, or most reports while there is no vote; of equally many, the lowest, so that
        the order of arrival decides nothing. Empty before the first report.
        """
        named = self.named or self.light
        return min(named, key=lambda digest: (-named[digest], digest), default="")

    @property
    def minority(self) -> tuple[str, ...]:
        """The members whose digest is not the majority's, in the order of their ids."""
        if self._agreed:
            return ()
        top = self.majority
        return tuple(sorted(member for member, vote in self.votes.items() if vote.digest != top))

    @property
    def _agreed(self) -> bool:
        return len({*self.named, *self.light}) < 2

    def contradicts(self, digest: str) -> bool:
        """Whether more than half of the votes agree on a digest other than `digest`."""
        top = self.majority
        return top != digest and 2 * self.named.get(top, 0) > self.counted

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
            agreed=self._agreed,
            compute_seconds=max(vote.compute_seconds for vote in every),
            exchange_seconds=max(vote.exchange_seconds for vote in every),
            bytes_sent=sum(vote.bytes_sent for vote in every),
            bytes_received=sum(vote.bytes_received for vote in every),
            finished_at=max(vote.finished_at for vote in every),
            votes=self.votes,
        )


def _changed(named: Map[str, int], digest: str, by: int) -> Map[str, int]:
    count = named.get(digest, 0) + by
    return named.set(digest, count) if count else named.delete(digest)
