"""Packing of whole documents: what is learned is a target exactly once, the same documents give the same samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.packing import SHARD_SAMPLES, Corpus
from peer.whole import Marks, best_fit, learned, pack, require_enough, whole_shards
from swarm.errors import DataError
from swarm.runspec import RunSpec, example

PADDING = 7_000_000
documents_of = st.lists(st.tuples(st.integers(0, 25), st.integers(1, 25)), min_size=1, max_size=30)


def spec(form: str, length: int) -> RunSpec:
    source = "a.txt" if form == "text" else "a.jsonl"
    data = example().data.model_copy(
        update={"source": source, "format": form, "packing": "whole", "sequence_length": length}
    )
    return example().model_copy(update={"data": data})


def corpus(sizes: Sequence[tuple[int, int]]) -> Corpus:
    """Documents with a prompt and an answer of these sizes; token ids count up from 1."""
    parts, first = [], 1
    for prompt, answer in sizes:
        ids = np.arange(first, first + prompt + answer, dtype=np.int32)
        hidden = max(prompt, 1)  # the first token is never learned
        parts.append(np.concatenate([~ids[:hidden], ids[hidden:]]))
        first += len(ids)
    keys = np.zeros(len(sizes), np.uint64)
    return Corpus(np.concatenate(parts), np.cumsum([0, *map(len, parts)]), keys, keys)


def samples(
    found: Corpus, form: str, length: int
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int32]], Marks, int]:
    packed = pack(found, range(len(found.split_keys)), spec(form, length))
    empty = np.empty((0, length + 1), np.int32), np.empty((0, length + 1), np.int16)
    shards = [empty, *whole_shards(found, packed, length, PADDING)]
    return np.concatenate([s[0] for s in shards]), np.concatenate([s[1] for s in shards]), packed.cut


@settings(max_examples=60, deadline=None)
@given(documents_of, st.integers(8, 30))
def test_every_learned_token_of_a_text_is_a_target_once(sizes: list[tuple[int, int]], length: int) -> None:
    found = corpus(sizes)
    tokens, marks, cut = samples(found, "text", length)
    assert cut == 0
    assert Counter(tokens[marks > 0].tolist()) == Counter(found.tokens[found.tokens >= 0].tolist())
    assert learned(marks) == int((found.tokens >= 0).sum())


@settings(max_examples=60, deadline=None)
@given(documents_of, st.integers(8, 30))
def test_every_record_is_whole_or_cut_at_its_end(sizes: list[tuple[int, int]], length: int) -> None:
    found = corpus(sizes)
    tokens, marks, cut = samples(found, "instruction", length)
    assert cut == sum(prompt + answer > length + 1 for prompt, answer in sizes)
    kept = [found.tokens[a : min(b, a + length + 1)] for a, b in zip(found.starts[:-1], found.starts[1:], strict=True)]
    wanted = np.concatenate(kept)
    assert Counter(tokens[marks > 0].tolist()) == Counter(wanted[wanted >= 0].tolist())
    _well_formed(tokens, marks)


def _well_formed(tokens: np.ndarray[tuple[int, int], np.dtype[np.int32]], marks: Marks) -> None:
    """Documents count up from 1, lie in one piece, begin unlearned, and padding is behind them."""
    for row, marked in zip(tokens, marks, strict=True):
        numbers = np.abs(marked)
        assert (numbers[1:] - numbers[:-1] <= 1).all()
        held = numbers[numbers > 0]
        assert (numbers[: len(held)] > 0).all()
        assert held[0] == 1
        assert (np.diff(held) >= 0).all()
        assert (row[numbers == 0] == PADDING).all()
        for number in range(1, int(held[-1]) + 1):
            ids = row[numbers == number]
            assert np.array_equal(ids, np.arange(ids[0], ids[0] + len(ids)))
            assert marked[numbers == number][0] < 0
            assert (marked[numbers == number] > 0).any()


@given(st.lists(st.integers(1, 20), max_size=60), st.integers(20, 40))
def test_bins_hold_every_item_once_and_no_two_could_be_one(lengths: list[int], size: int) -> None:
    bins = best_fit(lengths, size)
    assert sorted(item for one in bins for item in one) == list(range(len(lengths)))
    fill = sorted(sum(lengths[item] for item in one) for one in bins)
    assert all(total <= size for total in fill)
    assert len(fill) < 2 or fill[0] + fill[1] > size
    assert bins == best_fit(lengths, size)


def test_samples_come_in_shards() -> None:
    found = corpus([(1, 8)] * (SHARD_SAMPLES + 3))
    packed = pack(found, range(len(found.split_keys)), spec("instruction", 8))
    assert [len(tokens) for tokens, _ in whole_shards(found, packed, 8, 0)] == [SHARD_SAMPLES, 3]


def test_too_few_samples_are_refused() -> None:
    packed = pack(corpus([(1, 8)] * 9), range(9), spec("instruction", 8))
    with pytest.raises(DataError, match=r"at least 128 samples .* found 9, and 9 held out") as caught:
        require_enough(packed, packed, spec("instruction", 8))
    assert "lower" in caught.value.remedy
