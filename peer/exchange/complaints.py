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
    """Who sits out after an exchange of these members that failed."""
    accusers: dict[str, set[str]] = {}
    for word in words:
        accusers.setdefault(word.accused, set()).add(word.accuser)
    found: dict[str, Sentence] = {}
    for word in words:
        if word.proven:
            found[word.accused] = Sentence(word.accused, FOREVER, word.why)
        elif 2 * len(accusers[word.accused] - {word.accused}) > len(members) - 1:
            found.setdefault(word.accused, Sentence(word.accused, round_, f"most members say of it: {word.why}"))
    guilty = set(found)
    for word in words:
        if word.accused not in guilty:
            for sentence in _disputed(word, round_):
                found.setdefault(sentence.member, sentence)
    return [sentence for member, sentence in found.items() if member != leader]


def _disputed(word: Word, round_: int) -> list[Sentence]:
    if word.proven is False:
        return [Sentence(word.accuser, round_, f"what it says of {word.accused} is not so")]
    pairs = (word.accuser, word.accused), (word.accused, word.accuser)
    return [Sentence(one, round_, f"its word stands against that of {other}: {word.why}") for one, other in pairs]


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
