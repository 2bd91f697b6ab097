"""What the members' reports say together of one round. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.records import Metrics

Votes = Mapping[str, Metrics]  # by member


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


def majority(votes: Votes) -> str:
    """The digest that most reports name; of equally many, the lowest, so that the order of arrival decides nothing."""
    named = Counter(vote.digest for vote in votes.values())
    return min(named, key=lambda digest: (-named[digest], digest))


def contradicts(votes: Votes, digest: str) -> bool:
    """Whether more than half of the reports agree on a digest other than `digest`."""
    if not votes:
        return False
    top, count = Counter(vote.digest for vote in votes.values()).most_common(1)[0]
    return top != digest and 2 * count > len(votes)


def minority(votes: Votes) -> tuple[str, ...]:
    """The members whose digest is not the majority's."""
    if not votes:
        return ()
    top = majority(votes)
    return tuple(member for member, vote in votes.items() if vote.digest != top)


def summary(round_: int, votes: Votes) -> RoundSummary:
    """The round as the majority saw it; `votes` must not be empty."""
    digest = majority(votes)
    agreeing = [votes[member] for member in sorted(votes) if votes[member].digest == digest]
    weight = sum(vote.own_samples for vote in votes.values())
    loss = sum(vote.loss * vote.own_samples for vote in votes.values()) / max(1, weight)
    return RoundSummary(
        round=round_,
        samples=agreeing[0].swarm_samples,
        members=max(agreeing[0].group_size, len(votes)),
        global_samples=agreeing[0].global_samples,
        loss=loss,
        digest=digest,
        agreed=len(agreeing) == len(votes),
        compute_seconds=max(vote.compute_seconds for vote in votes.values()),
        exchange_seconds=max(vote.exchange_seconds for vote in votes.values()),
        finished_at=max(vote.finished_at for vote in votes.values()),
    )
