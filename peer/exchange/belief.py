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
    """What the coordinator says: how far the run is, the digest of each θ that it vouches for, by round, and the round
    of its latest checkpoint. Nothing while it cannot be asked.
    """

    round: int = 0
    digests: Mapping[int, str] = field(default_factory=dict)
    checkpoint: int = 0


@dataclass(frozen=True)
class Standpoint:
    """Where a peer stands that hears of other rounds: in `round`, among these `members` that hold a state, with one
    that those `makers` made, as far as it knows. Without a `say` it says nothing for its own round: it holds no state
    yet, or gave its vote for a later one, θ_voted, and does not know what became of it; more than half of the
    `deciders` do: the leader or, for who led that round itself, those whose average counted, as far as their processes
    are still here.
    """

    own: str
    round: int
    members: frozenset[str]
    makers: frozenset[str] = frozenset()
    say: bool = True
    deciders: frozenset[str] = frozenset()
    voted: int = 0


@dataclass(frozen=True)
class Offered:
    """A state that a member holds; equal states have the same `digest`, and the same `file`."""

    member: str
    round: int
    digest: str
    file: bytes = b""
    made_by: tuple[str, ...] = ()


State = tuple[int, str, bytes]  # round, digest and file


def believed(at: Standpoint, words: Mapping[str, int], told: int = 0) -> int:
    """The round in which the run is, at least: by the `words` of members, and by the coordinator's, when some member
    says so, too; -1 when that is not known.
    """
    said = {**words, at.own: at.round}
    return max(_by_most(at, said), min(told, max(said.values())) if told else -1)


def _by_most(at: Standpoint, said: Mapping[str, int]) -> int:
    return max(_reached(said, among) for among in _electorates(at))


def _electorates(at: Standpoint) -> tuple[frozenset[str], frozenset[str]]:
    silent = frozenset() if at.say else {at.own}
    return at.members - silent, at.makers - silent


def _reached(words: Mapping[str, int], among: Collection[str]) -> int:
    """The latest round that more than half of them are in, or beyond; -1 when not so many spoke."""
    rounds = sorted((words.get(member, -1) for member in among), reverse=True)
    return rounds[len(rounds) // 2] if rounds else -1


def chosen(offers: Sequence[Offered], at: Standpoint, told: Told) -> Offered | None:
    """The offer to take: of the latest state that more than half of the members hold, or of those who made the own one,
    or that the coordinator vouches for, or that is the only one of the round that it names; or what the deciders say
    came of the round for which this member gave its vote. None without one: while a round ends the members are in two,
    and a moment later in one again.
    """
    holders: dict[State, dict[str, Offered]] = {}
    for offer in offers:
        if offer.round >= at.round and told.digests.get(offer.round, offer.digest) == offer.digest:
            holders.setdefault((offer.round, offer.digest, offer.file), {})[offer.member] = offer
    sure = [state for state, same in holders.items() if state[0] in told.digests or _most(same, at)]
    named = _named(holders, told)
    asked = {at.round + 1, at.voted}  # it may have lost the state from which it voted, too
    said = [state for state, same in holders.items() if state[0] in asked and _more(same, at.deciders)]
    best = max([*sure, *named, *said], key=lambda state: (state[0], len(holders[state])), default=None)
    return _told_by_most(list(holders[best].values())) if best else None


def _named(states: Collection[State], told: Told) -> list[State]:
    """The state of the round that the coordinator names, if there is one and no other; where it names a later one than
    anybody, of the latest.
    """
    if not (states and told.round):
        return []
    named = min(told.round, max(round_ for round_, _, _ in states))
    found = [state for state in states if state[0] == named]
    return found if len(found) == 1 else []


def _most(members: Collection[str], at: Standpoint) -> bool:
    """Whether these are more than half of the members that hold a state, or of those who made the own one."""
    return any(_more(members, among) for among in _electorates(at))


def _more(members: Collection[str], among: frozenset[str]) -> bool:
    """Whether these are more than half of those."""
    return 2 * len(among & set(members)) > len(among)


def _told_by_most(same: Sequence[Offered]) -> Offered:
    """Of offers of one state one that names the makers whom most name."""
    makers = Counter(offer.made_by for offer in same if offer.made_by)
    return max(same, key=lambda offer: (makers[offer.made_by], offer.made_by, offer.member))
