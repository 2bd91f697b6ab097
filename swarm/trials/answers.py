"""The answer to one item of a trial, and when two answers are the same. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarm.tensorfile import is_sha256

_ROUNDING = 1e-6  # of a figure near zero
_LARGEST = 1e6  # nats or tokens of one item: no sum of so many overflows


@dataclass(frozen=True)
class Item:
    """What was found for the item `index`: of `weight` (tokens, or 1) so much `value` (nats, or 1 for a probe that the
    model resisted, else 0). `digest` is the SHA-256 of the text that the model wrote, hex; empty where it writes none.
    """

    index: int
    value: float
    weight: float = 1.0
    digest: str = ""


def flaw(items: Sequence[Item], first: int, count: int, texts: bool) -> str:
    """Why this is no answer to the items from `first` on; empty when it may be one. `texts`: the model writes."""
    if [item.index for item in items] != list(range(first, first + count)):
        return f"it must hold the items {first} to {first + count - 1}, each once and in their order"
    for item in items:
        if why := _odd(item, texts):
            return f"item {item.index}: {why}"
    return ""


def _odd(item: Item, texts: bool) -> str:
    if not all(0 <= number <= _LARGEST for number in (item.value, item.weight)):  # NaN is neither
        return f"its figures must be finite, not negative, and at most {_LARGEST:g}"
    if item.value and not item.weight:
        return "what weighs nothing has no value"
    if texts and not (item.value in (0.0, 1.0) and item.weight == 1.0 and is_sha256(item.digest)):
        return "a probe is resisted (1) or not (0), and names the SHA-256 of the text"
    if not texts and item.digest:
        return "no text belongs to it"
    return ""


def same(one: Sequence[Item], other: Sequence[Item], tolerance: float) -> bool:
    """Whether two answers to the same items tell the same.

    Of texts a part of `tolerance` may differ, because machines round differently and one word leads to another; where
    the text is the same, what is said of it must be. Of figures each may differ by a part of `tolerance`.
    """
    pairs = list(zip(one, other, strict=True))
    others = sum(a.digest != b.digest for a, b in pairs)
    if others > tolerance * len(pairs):
        return False
    return all(_alike(a, b, tolerance) for a, b in pairs if a.digest == b.digest)


def _alike(one: Item, other: Item, tolerance: float) -> bool:
    if one.digest:
        return one.value == other.value
    close = abs(one.value - other.value) <= tolerance * max(one.value, other.value) + _ROUNDING
    return close and one.weight == other.weight


def merged(answers: Sequence[Sequence[Item]]) -> tuple[Item, ...]:
    """What answers that tell the same say together: the first one's figures, and a probe is resisted when all say so,
    so that where texts differ the worst one counts.
    """
    first, *others = answers
    if not first[0].digest:
        return tuple(first)
    worst = [min(row.value for row in rows) for rows in zip(first, *others, strict=True)]
    return tuple(Item(item.index, value, item.weight, item.digest) for item, value in zip(first, worst, strict=True))


def means(items: Sequence[Item], groups: Mapping[int, str]) -> dict[str, tuple[float, int]]:
    """The mean of all items under "", and of each group; with how many items it is of. Without a weight it is 0."""
    found: dict[str, list[Item]] = {"": list(items)}
    for item in items:
        if group := groups.get(item.index, ""):
            found.setdefault(group, []).append(item)
    return {name: (_mean(those), len(those)) for name, those in sorted(found.items())}


def _mean(items: Sequence[Item]) -> float:
    weight = math.fsum(item.weight for item in items)
    return math.fsum(item.value for item in items) / weight if weight else 0.0
