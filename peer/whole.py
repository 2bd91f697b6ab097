"""Packing of whole documents: each sample holds some that do not see each other, and padding behind them.

See "Shard" in docs/architecture.md for the marks. Documents are packed by best fit decreasing (Johnson 1973).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from peer.encoding import Tokens, plain_ids
from peer.packing import SHARD_SAMPLES, Corpus
from swarm.errors import DataError
from swarm.runspec import RunSpec

_MOST = np.iinfo(np.int16).max  # documents in a sample

Marks = NDArray[np.int16]


class Span(NamedTuple):
    """Tokens start ≤ t < stop of a corpus, which are packed as one document."""

    start: int
    stop: int


@dataclass(frozen=True)
class Packed:
    """Samples as lists of spans; `cut` documents were longer than a sample and lost their end."""

    samples: list[list[Span]]
    cut: int


def pack(corpus: Corpus, documents: Sequence[int], spec: RunSpec) -> Packed:
    """Whole documents in as few samples as best fit finds; the same for the same documents in the same order.

    A record's end is cut when it is longer than a sample. A text is divided instead: its pieces overlap by one token,
    so that every token but the first is a target once. What has nothing to learn is left out.
    """
    size = spec.data.sequence_length + 1
    spans, cut = [], 0
    for document in documents:
        span = Span(int(corpus.starts[document]), int(corpus.starts[document + 1]))
        whole = spec.data.format != "text"
        cut += whole and span.stop - span.start > size
        parts = [Span(span.start, min(span.stop, span.start + size))] if whole else _divided(span, size)
        spans += [part for part in parts if (corpus.tokens[part.start + 1 : part.stop] >= 0).any()]
    bins = best_fit([span.stop - span.start for span in spans], size)
    # In the order of their first documents, which is random: long ones must not come together.
    return Packed([[spans[item] for item in one] for one in sorted(bins)], cut)


def best_fit(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Which of the items with these `lengths`, at most `size` each, share a bin of `size`: the longest item first,
    each where the least room is left; item numbers in each bin ascend."""
    bins: list[list[int]] = []
    open_: dict[int, list[int]] = {}  # bins by the room that is left in them
    rooms: list[int] = []  # the keys of open_, ascending
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        place = bisect_left(rooms, lengths[item])
        room = rooms[place] if place < len(rooms) else size
        if place < len(rooms):
            chosen = _taken(open_, rooms, place)
        else:
            chosen = len(bins)
            bins.append([])
        bins[chosen].append(item)
        if (left := room - lengths[item]) and len(bins[chosen]) < _MOST:
            _put(open_, rooms, left, chosen)
    return [sorted(one) for one in bins]


def whole_shards(corpus: Corpus, packed: Packed, length: int, padding: int) -> Iterator[tuple[Tokens, Marks]]:
    """Tokens and marks [≤ 512, length + 1] of the samples; `padding` is the token behind the last document."""
    for start in range(0, len(packed.samples), SHARD_SAMPLES):
        rows = packed.samples[start : start + SHARD_SAMPLES]
        tokens = np.full((len(rows), length + 1), padding, np.int32)
        marks = np.zeros_like(tokens, np.int16)
        for row, spans in enumerate(rows):
            _lay(corpus, spans, tokens[row], marks[row])
        yield tokens, marks


def learned(marks: Marks) -> int:
    """How many tokens of some samples are learned."""
    return int(np.count_nonzero(marks > 0))


def require_enough(train: Packed, heldout: Packed, spec: RunSpec) -> None:
    """Raises DataError when there are too few samples to train on, or none to evaluate on."""
    length, batch = spec.data.sequence_length, spec.training.target_batch_size
    found = len(train.samples)
    if found < 2 * batch or not heldout.samples:
        raise DataError(
            f"The data is too short: training.target_batch_size = {batch} needs at least {2 * batch} samples of "
            f"data.sequence_length = {length} to train on; found {found}, and {len(heldout.samples)} held out for "
            "evaluation.",
            "Add records, or lower training.target_batch_size or data.sequence_length.",
        )


def _divided(span: Span, size: int) -> list[Span]:
    starts: Iterable[int] = range(span.start, max(span.stop - 1, span.start + 1), size - 1)
    return [Span(start, min(start + size, span.stop)) for start in starts]


def _taken(open_: dict[int, list[int]], rooms: list[int], place: int) -> int:
    """Take the newest bin out of those with the room rooms[place]."""
    room = rooms[place]
    chosen = open_[room].pop()
    if not open_[room]:
        del open_[room], rooms[place]
    return chosen


def _put(open_: dict[int, list[int]], rooms: list[int], room: int, chosen: int) -> None:
    if room not in open_:
        insort(rooms, room)
        open_[room] = []
    open_[room].append(chosen)


def _lay(corpus: Corpus, spans: list[Span], tokens: Tokens, marks: Marks) -> None:
    """Write a sample's documents into its row."""
    begin = 0
    for number, span in enumerate(spans, start=1):
        found = corpus.tokens[span.start : span.stop]
        end = begin + len(found)
        tokens[begin:end] = plain_ids(found)
        marks[begin:end] = np.where(found < 0, -number, number)
        marks[begin] = -number
        begin = end
