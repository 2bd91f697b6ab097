"""Documents that are much like others: found by MinHash (Broder 1997) over shingles of five words.

Likeness is the estimated Jaccard similarity of two documents' sets of shingles. The estimate of 128 values is off by
0.035 in the mean; the search finds a pair at 0.8 with a probability of about 0.95, closer ones nearly surely.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

THRESHOLD = 0.8
_WORDS = 5  # in a shingle
_VALUES = 128  # of a signature
_SCHEME = "affine32"
_MISSES_WEIGH = 0.9  # against false alarms, which the estimate sorts out

Signatures = NDArray[np.uint32]


class Pair(NamedTuple):
    """Two documents that are much like each other, by their numbers; similarity between 0.8 and 1."""

    document: int
    like: int
    similarity: float


class Likeness(NamedTuple):
    """Documents that are like an earlier one, each with the one that it is most like.

    `leaked` are those that are held out and like one that is trained on; `repeated` are the others.
    """

    leaked: list[Pair]
    repeated: list[Pair]


def signatures(texts: Sequence[str]) -> Signatures:
    """The signature [128] of each text."""
    hashes = MinHash.bulk([_shingles(text) for text in texts], num_perm=_VALUES, scheme=_SCHEME)
    return np.array([item.hashvalues for item in hashes], np.uint32).reshape(-1, _VALUES)


def likeness(found: Signatures, train: Iterable[int], heldout: Iterable[int]) -> Likeness:
    """What is alike among the documents with the signatures `found`; those on both sides are taken in their order."""
    trained, held, result = _Index(found), _Index(found), Likeness([], [])
    for document in train:
        result.repeated.extend(trained.closest(document))
        trained.add(document)
    for document in heldout:
        leaked = trained.closest(document)
        result.leaked.extend(leaked)
        result.repeated.extend([] if leaked else held.closest(document))
        held.add(document)
    return result


class _Index:
    """Documents to look among; of many with the same signature only the first, so that copies cost nothing."""

    def __init__(self, found: Signatures) -> None:
        self._found = found
        self._first: dict[bytes, int] = {}
        self._near = MinHashLSH(threshold=THRESHOLD, num_perm=_VALUES, weights=(1 - _MISSES_WEIGH, _MISSES_WEIGH))

    def add(self, document: int) -> None:
        if self._first.setdefault(self._found[document].tobytes(), document) == document:
            self._near.insert(document, self._sketch(document))

    def closest(self, document: int) -> list[Pair]:
        """The pair with the one that is most like `document`, or nothing when none is much like it."""
        if (same := self._first.get(self._found[document].tobytes())) is not None:
            return [Pair(document, same, 1.0)]
        others = sorted(self._near.query(self._sketch(document)))
        if not others:
            return []
        shares = (self._found[others] == self._found[document]).mean(axis=1)
        best = int(np.argmax(shares))
        return [Pair(document, others[best], float(shares[best]))] if shares[best] >= THRESHOLD else []

    def _sketch(self, document: int) -> MinHash:
        return MinHash(hashvalues=self._found[document], scheme=_SCHEME)


def _shingles(text: str) -> set[bytes]:
    """Every five words in a row; a shorter text is one shingle."""
    words = re.findall(r"\w+", text.casefold()) or [text.strip()]
    count = max(len(words) - _WORDS + 1, 1)
    return {" ".join(words[start : start + _WORDS]).encode() for start in range(count)}
