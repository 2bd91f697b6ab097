"""What becomes of complaints about members that did not do their part. Pure.

A wrong mean is judged by what the leader finds when it computes it again. Where it is one's word against the other's,
more than half of the group are believed; otherwise both sit out, as in Gorbunov et al. 2021 (arXiv 2106.11257): a liar
takes one honest member with it for a round, three times at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

FOREVER = -1
_DISPUTES = 3  # in which a member may be, with others; then it sits out for good


@dataclass(frozen=True)
class Word:
    """One member about another. `proven` is what the leader found: True, False, or None where it cannot know."""

    accuser: str
    accused: str
    why: str
    proven: bool | None = None


@dataclass(frozen=True)
class Sentence:
    """A member takes part in no group of `round` any more, or of none at all (`FOREVER`)."""

    member: str
    round: int
    why: str


def judge(words: Collection[Word], members: Collection[str], leader: str, round_: int) -> list[Sentence]:
    """Who sits out after an exchange of these members that failed. Nobody does for one's word against another's where
    no more than half of them would be left: they could not make the round without the others.
    """
    accusers: dict[str, set[str]] = {}
    for word in words:
        accusers.setdefault(word.accused, set()).add(word.accuser)
    found: dict[str, Sentence] = {}
    for word in words:
        if word.proven:
            found[word.accused] = Sentence(word.accused, FOREVER, word.why)
        elif 2 * len(accusers[word.accused] - {word.accused}) > len(members) - 1:
            found.setdefault(word.accused, Sentence(word.accused, round_, f"most members say of it: {word.why}"))
    for word in words:
        if word.proven is False and word.accused not in found:
            found.setdefault(word.accuser, Sentence(word.accuser, round_, f"what it says of {word.accused} is not so"))
    disputed = _disputed([word for word in words if not {word.accuser, word.accused} & found.keys()], leader, round_)
    if 2 * (len(members) - len(found.keys() | disputed.keys())) > len(members):
        found |= disputed
    return [sentence for member, sentence in found.items() if member != leader]


def _disputed(words: Collection[Word], leader: str, round_: int) -> dict[str, Sentence]:
    """Both sides of each, but for the leader, without whom there is no round."""
    pairs = [
        pair for word in words for pair in ((word.accuser, word.accused, word), (word.accused, word.accuser, word))
    ]
    return {
        one: Sentence(one, round_, f"its word stands against that of {other}: {word.why}")
        for one, other, word in pairs
        if one != leader
    }


@dataclass
class Bench:
    """Who sits out, and since when, as this leader judged."""

    _sentences: dict[str, Sentence] = field(default_factory=dict)
    _disputes: Counter[str] = field(default_factory=Counter)

    def add(self, sentence: Sentence) -> Sentence:
        """Take a sentence; the third for a round is for good. What holds now."""
        self._disputes[sentence.member] += 1
        if sentence.round != FOREVER and self._disputes[sentence.member] >= _DISPUTES:
            sentence = Sentence(sentence.member, FOREVER, sentence.why)
        held = self._sentences.get(sentence.member)
        if held is None or held.round != FOREVER:
            self._sentences[sentence.member] = sentence
        return self._sentences[sentence.member]

    def why(self, member: str, round_: int) -> str:
        """Why a member sits out in this round; empty when it does not."""
        held = self._sentences.get(member)
        return held.why if held and held.round in (FOREVER, round_) else ""
