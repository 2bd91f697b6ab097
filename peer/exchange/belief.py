"""What is believed of what members say about rounds and states. Pure.

One member's word is no more than that. A later round than the own one is believed when more than half of the members
say that they are in it, or of those who made the own state: more than half of these make the next one (docs/decisions/
0012-one-part-goes-on.md); or when the coordinator names it. Members are counted, not nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Told:
    """What the coordinator says: how far the run is, and the digest of each θ that it vouches for, by round. Nothing
    while it cannot be asked.
    """

    round: int = 0
    digests: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Standpoint:
    """Where a peer stands that hears of other rounds: in `round`, among these `members` that hold a state, with one
    that those `makers` made, as far as it knows. Without a `say` it says nothing for its own round: it holds no state
    yet, or gave its vote for the next one and does not know what became of it.
    """

    own: str
    round: int
    members: frozenset[str]
    makers: frozenset[str] = frozenset()
    say: bool = True


@dataclass(frozen=True)
class Offered:
    """A state that a member holds; equal states have the same `digest`, and the same `file`."""

    member: str
    round: int
    digest: str
    file: bytes = b""
    made_by: tuple[str, ...] = ()


def believed(at: Standpoint, words: Mapping[str, int], told: int = 0) -> int:
    """The round in which the run is, at least: by the `words` of members, and by the coordinator's, when some member
    says so, too; -1 when that is not known.
    """
    said = {**words, at.own: at.round}
    return max(_by_most(at, said), min(told, max(said.values())) if told else -1)


def _by_most(at: Standpoint, said: Mapping[str, int]) -> int:
    silent = frozenset() if at.say else {at.own}
    return max(_reached(said, at.members - silent), _reached(said, at.makers - silent))


def _reached(words: Mapping[str, int], among: Collection[str]) -> int:
    """The latest round that more than half of them are in, or beyond; -1 when not so many spoke."""
    rounds = sorted((words.get(member, -1) for member in among), reverse=True)
    return rounds[len(rounds) // 2] if rounds else -1


def chosen(offers: Sequence[Offered], at: Standpoint, words: Mapping[str, int], told: Told) -> Offered | None:
    """The offer to take: of what is believed the state that most members hold, and no other one than the coordinator
    vouches for; None when there is none, or members speak against each other and nobody decides. A round that follows
    what is believed may have begun meanwhile, but not on the word of one whom the coordinator's alone supports.

    `words` are rounds that members say they are in besides, as those do who left.
    """
    fitting = [offer for offer in offers if told.digests.get(offer.round, offer.digest) == offer.digest]
    if not fitting:
        return None
    said = {**words, **{offer.member: offer.round for offer in fitting}}
    least = believed(at, said, told.round)
    if least < at.round:
        return None
    exactly = (at.say and least == at.round) or _by_most(at, {**said, at.own: at.round}) < least
    votes = Counter(
        (offer.round, offer.digest, offer.file)
        for offer in {offer.member: offer for offer in fitting}.values()
        if offer.round == least or (offer.round > least and not exactly)
    )
    best = max(((count, -state[0]) for state, count in votes.items()), default=None)
    states = [state for state, count in votes.items() if (count, -state[0]) == best]
    if len(states) != 1:
        return None
    same = [offer for offer in fitting if (offer.round, offer.digest, offer.file) == states[0]]
    makers = Counter(offer.made_by for offer in same if offer.made_by)
    return max(same, key=lambda offer: (makers[offer.made_by], offer.made_by, offer.member))
