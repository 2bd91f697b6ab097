"""Packing: every token a target once, nothing held out is trained on, the same text gives the same samples."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.blocks import Encoder, blocks
from peer.formats import plain
from peer.packing import SHARD_SAMPLES, Corpus, gather, separable, shards, split
from peer.tokenizer import END, byte_level
from swarm.errors import DataError
from swarm.runspec import RunSpec, loads

BYTES = byte_level(257, ())


def spec(length: int = 8, batch: int = 1, fraction: float = 0.1) -> RunSpec:
    return loads(
        f"""
        [run]
        name = "test"
        [model]
        source = "preset:tiny-llama"
        tokenizer = "bytes"
        [data]
        source = "builtin:pydoc-topics"
        sequence_length = {length}
        heldout_fraction = {fraction}
        [training]
        rounds = 1
        micro_batch_size = 1
        target_batch_size = {batch}
        """
    )


@contextmanager
def corpus_of(texts: list[str], seed: int = 0) -> Iterator[Corpus]:
    documents = [plain(text, f"text {number}") for number, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
        yield gather(blocks(documents, Encoder(BYTES, "", False, seed), Path(folder), 1), file)


def words(count: int) -> list[str]:
    return [f"document {number} " * (1 + number % 7) for number in range(count)]


def text_of(corpus: Corpus, document: int) -> str:
    ids = corpus.tokens[corpus.starts[document] : corpus.starts[document + 1]]
    return str(BYTES.decode(ids.tolist()))


def test_documents_come_back_with_an_end_behind_each() -> None:
    with corpus_of(["one", "zwei ä", "日本"]) as corpus:
        assert [text_of(corpus, number) for number in range(3)] == [f"{t}{END}" for t in ("one", "zwei ä", "日本")]


def test_a_text_that_spells_the_end_token_is_text() -> None:
    with corpus_of([f"a{END}b"]) as corpus:
        assert np.count_nonzero(corpus.tokens == BYTES.eos_token_id) == 1
        assert text_of(corpus, 0) == f"a{END}b{END}"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8), st.integers(1, 20))
def test_every_token_but_the_first_is_a_target_once(lengths: list[int], length: int) -> None:
    starts = np.cumsum([0, *lengths])
    keys = np.zeros(len(lengths), np.uint64)
    tokens = np.arange(starts[-1], dtype=np.int32)
    found = list(shards(Corpus(tokens, starts, keys, keys), range(len(lengths)), length))
    samples = np.concatenate([np.empty((0, length + 1), np.int32), *found])
    assert np.array_equal(samples[:, 1:].ravel(), tokens[1 : 1 + samples[:, 1:].size])
    assert np.array_equal(samples[:, :-1].ravel(), tokens[: samples[:, 1:].size])
    assert len(samples) == (len(tokens) - 1) // length
    assert all(len(shard) == SHARD_SAMPLES for shard in found[:-1])
    assert all(0 < len(shard) <= SHARD_SAMPLES for shard in found[-1:])


def test_no_document_is_on_both_sides_or_on_none() -> None:
    with corpus_of(words(300)) as corpus:
        parts = split(corpus, spec())
    assert sorted([*parts.train, *parts.heldout]) == list(range(300))
    assert 15 <= len(parts.heldout) <= 60


def test_the_split_follows_the_text_and_the_order_the_seed() -> None:
    with corpus_of(words(200)) as one, corpus_of(words(200)[::-1]) as reverse, corpus_of(words(200), 1) as other:
        first, second, third = split(one, spec()), split(reverse, spec()), split(other, spec())
        assert [text_of(one, d) for d in first.heldout] == [text_of(reverse, d) for d in second.heldout]
        assert [text_of(one, d) for d in first.train] == [text_of(reverse, d) for d in second.train]
    assert sorted(first.heldout) == sorted(third.heldout)
    assert list(first.train) != list(third.train)
    assert list(first.train) != sorted(first.train)


def test_at_least_one_sample_and_at_most_about_one_shard_is_held_out() -> None:
    with corpus_of(words(100)) as corpus:
        parts = split(corpus, spec(length=64, fraction=0.001))
        assert len(next(shards(corpus, parts.heldout, 64))) >= 1
    with corpus_of(["x" * 100] * 1000) as corpus:
        parts = split(corpus, spec(fraction=0.5))
        assert 510 * 8 <= len(parts.heldout) * 101 <= 530 * 8


def test_too_few_documents_are_cut_into_pieces() -> None:
    paragraphs = [f"paragraph {number} " * 60 + "\n\n" for number in range(50)]
    pieces = list(separable([plain("".join(paragraphs), "a.txt, line 1")], 0.05))
    assert "".join(piece.text for piece in pieces) == "".join(paragraphs)
    assert [piece.origin for piece in pieces[:2]] == ["a.txt, line 1, piece 1", "a.txt, line 1, piece 2"]
    assert len(pieces) > 10
    many = [plain(text, "here") for text in words(40)]
    assert list(separable(many, 0.05)) == many


def test_too_short_data_says_what_is_needed_and_found() -> None:
    with corpus_of(words(20)) as corpus, pytest.raises(DataError) as refusal:
        split(corpus, spec(length=128, batch=64))
    assert "data.sequence_length = 128" in refusal.value.what
    assert "at least 16385 tokens" in refusal.value.what
    assert "lower training.target_batch_size" in refusal.value.remedy


def test_no_document_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="no text"), corpus_of([]):
        pass
