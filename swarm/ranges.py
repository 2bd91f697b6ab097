"""Ranges of sample positions, and where a position's sample lies. Pure.

The run's samples are one endless stream of positions 0, 1, 2, …; each epoch goes through all samples once, in an
order drawn from (seed, epoch). See "State, files, names" in docs/architecture.md.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from swarm.errors import CorruptError

_SHARD = 1 << 20  # samples: far beyond what preparation puts into one
LAST = 1 << 62  # past every position that a run can reach; fits a signed 64-bit column


class Range(NamedTuple):
    """Positions start ≤ p < stop."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __bool__(self) -> bool:
        return self.stop > self.start

    @property
    def sound(self) -> bool:
        """Whether a run can have such a range: what a stranger sends may end before it starts."""
        return 0 <= self.start <= self.stop <= LAST

    def covers(self, other: Range) -> bool:
        return self.start <= other.start and other.stop <= self.stop

    def overlap(self, other: Range) -> Range:
        start = max(self.start, other.start)
        return Range(start, max(start, min(self.stop, other.stop)))


def merge(ranges: Iterable[Range]) -> list[Range]:
    """The same positions as sorted, disjoint, non-touching ranges."""
    merged: list[Range] = []
    for item in sorted(r for r in ranges if r):
        if merged and item.start <= merged[-1].stop:
            merged[-1] = Range(merged[-1].start, max(merged[-1].stop, item.stop))
        else:
            merged.append(item)
    return merged


def subtract(ranges: Iterable[Range], gone: Range) -> list[Range]:
    """`ranges` without the positions of `gone`."""
    left = []
    for item in ranges:
        left += [Range(item.start, min(item.stop, gone.start)), Range(max(item.start, gone.stop), item.stop)]
    return [item for item in left if item]


def without(ranges: Sequence[Range], gone: Iterable[Range]) -> list[Range]:
    """The positions of `ranges`, which are sorted and disjoint, that are in none of `gone`; of `ranges` only those are
    looked at that lie among these.
    """
    lost = merge(gone)
    if not lost:
        return list(ranges)
    if len(ranges) == len(lost) == 1:
        return subtract(ranges, lost[0])
    first = bisect_right(ranges, lost[0].start, key=lambda item: item.stop)
    last = bisect_left(ranges, lost[-1].stop, key=lambda item: item.start)
    left = [part for item in ranges[first:last] for part in gaps(among(lost, item), item)]
    return [*ranges[:first], *left, *ranges[last:]]


def joined(ranges: Sequence[Range], more: Iterable[Range]) -> list[Range]:
    """All positions of `ranges`, which are sorted, disjoint and do not touch, and of `more`, in the same form."""
    new = merge(more)
    if not new:
        return list(ranges)
    at = _touched(ranges, Range(new[0].start, new[-1].stop))
    return [*ranges[: at.start], *merge([*ranges[at], *new]), *ranges[at.stop :]]


def _touched(ranges: Sequence[Range], span: Range) -> slice:
    """Where those of `ranges` lie that meet `span` or touch it."""
    first = bisect_left(ranges, span.start, key=lambda item: item.stop)
    last = bisect_right(ranges, span.stop, key=lambda item: item.start)
    return slice(first, last)


def among(ranges: Sequence[Range], window: Range) -> list[Range]:
    """The positions of `window` in `ranges`, which are sorted and disjoint; not all of them are looked at."""
    first = bisect_right(ranges, window.start, key=lambda item: item.stop)
    last = bisect_left(ranges, window.stop, key=lambda item: item.start)
    return [part for item in ranges[first:last] if (part := item.overlap(window))]


def gaps(ranges: Sequence[Range], window: Range) -> list[Range]:
    """The positions of `window` that are in none of `ranges`, which are sorted, disjoint and inside it."""
    starts = [window.start, *(item.stop for item in ranges)]
    stops = [*(item.start for item in ranges), window.stop]
    return [item for item in map(Range, starts, stops) if item]


def total(ranges: Iterable[Range]) -> int:
    """How many positions `ranges` hold, taken one by one."""
    return sum(len(item) for item in ranges)


class RangeSet:
    """Positions that become more, as sorted, disjoint, non-touching ranges; quick while these are few."""

    def __init__(self) -> None:
        self.ranges: list[Range] = []

    def add(self, item: Range) -> None:
        if item:
            at = _touched(self.ranges, item)
            self.ranges[at] = merge([item, *self.ranges[at]])  # in place: a ledger adds many

    def overlap(self, window: Range) -> list[Range]:
        """The positions of `window` that are in the set."""
        return among(self.ranges, window)

    def missing(self, window: Range) -> list[Range]:
        """The positions of `window` that are not in the set."""
        return gaps(self.overlap(window), window)


@dataclass(frozen=True)
class Layout:
    """How samples lie in shards: shard i holds shard_samples[i] samples of sequence_length + 1 token ids."""

    shard_samples: tuple[int, ...]
    sequence_length: int
    seed: int

    @classmethod
    def received(cls, shard_samples: Iterable[int], sequence_length: int, seed: int) -> Layout:
        """What a coordinator says. Raises CorruptError for what preparation never makes: order and rows of a shard are
        lists in memory.
        """
        found = cls(tuple(shard_samples), sequence_length, seed)
        sound = all(0 < samples <= _SHARD for samples in found.shard_samples)
        if not (sound and found.shard_samples and sequence_length):
            raise CorruptError("The coordinator's data layout makes no sense.", "Tell the run's maintainer.")
        return found

    @property
    def samples_per_epoch(self) -> int:
        return sum(self.shard_samples)


class Location(NamedTuple):
    """Which sample a position means."""

    epoch: int
    shard: int
    row: int


def locate(layout: Layout, position: int) -> Location:
    """The sample at `position`; every sample of an epoch has exactly one position in it."""
    epoch, offset = divmod(position, layout.samples_per_epoch)
    shards, starts = _shard_order(layout, epoch)
    rank = bisect_right(starts, offset) - 1
    shard = shards[rank]
    return Location(epoch, shard, _sample_order(layout, epoch, shard)[offset - starts[rank]])


@lru_cache(maxsize=8)
def _shard_order(layout: Layout, epoch: int) -> tuple[list[int], list[int]]:
    order = list(range(len(layout.shard_samples)))
    random.Random(f"{layout.seed}/{epoch}").shuffle(order)
    ends = list(accumulate(layout.shard_samples[shard] for shard in order))
    return order, [0, *ends[:-1]]


@lru_cache(maxsize=64)
def _sample_order(layout: Layout, epoch: int, shard: int) -> list[int]:
    order = list(range(layout.shard_samples[shard]))
    random.Random(f"{layout.seed}/{epoch}/{shard}").shuffle(order)
    return order
