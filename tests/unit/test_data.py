"""Batches by position: the right samples, shards read once, nothing torn or foreign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from peer.data import Batches, Samples, read_samples
from swarm.errors import CorruptError
from swarm.ranges import Layout, Range, locate
from swarm.tensorfile import sha256_file

LAYOUT = Layout((5, 3), 4, seed=7)


class Shelf:
    """Two shards; sample (shard, row) holds 100 · shard + row everywhere."""

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / "0", folder / "1"]
        self.asked: list[int] = []
        for shard, path in enumerate(self.paths):
            numbers = 100 * shard + np.arange(LAYOUT.shard_samples[shard], dtype=np.int32)
            save_file({"tokens": np.repeat(numbers[:, None], 5, axis=1)}, path)
        self.digests = tuple(map(sha256_file, self.paths))

    def shard(self, number: int) -> Path:
        self.asked.append(number)
        return self.paths[number]

    def batches(self) -> Batches:
        return Batches(LAYOUT, self.digests, self.shard)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_positions_give_their_samples_over_epochs(shelf: Shelf) -> None:
    tokens = shelf.batches().load(Range(2, 19)).tokens
    expected = [locate(LAYOUT, position) for position in range(2, 19)]
    assert tokens.dtype == torch.int64
    assert tokens.shape == (17, 5)
    assert tokens[:, 0].tolist() == [100 * place.shard + place.row for place in expected]


def test_a_shard_is_asked_for_when_needed_and_once(shelf: Shelf) -> None:
    batches = shelf.batches()
    assert not shelf.asked
    for start in range(0, 16, 2):
        batches.load(Range(start, start + 2))
    assert sorted(shelf.asked) == [0, 1]


def test_another_file_than_the_run_names_is_refused(shelf: Shelf) -> None:
    shelf.paths[0].write_bytes(shelf.paths[1].read_bytes())
    with pytest.raises(CorruptError, match="SHA-256"):
        shelf.batches().load(Range(0, 8))


def test_another_shape_than_the_layout_is_refused(shelf: Shelf) -> None:
    wrong = Batches(Layout((5, 4), 4, seed=7), shelf.digests, shelf.shard)
    with pytest.raises(CorruptError, match="shape"):
        wrong.load(Range(0, 9))


def test_a_file_without_tokens_is_refused(tmp_path: Path) -> None:
    save_file({"other": np.zeros(3)}, tmp_path / "x")
    with pytest.raises(CorruptError, match="no tokens"):
        read_samples(tmp_path / "x")
    (tmp_path / "y").write_bytes(b"torn")
    with pytest.raises(CorruptError, match="y is torn"):
        read_samples(tmp_path / "y")


def marked(folder: Path, marks: np.ndarray[Any, Any]) -> Path:
    save_file({"tokens": np.arange(15, dtype=np.int32).reshape(3, 5), "marks": marks}, folder / "marked")
    return folder / "marked"


def test_marks_travel_with_their_tokens(tmp_path: Path) -> None:
    samples = read_samples(marked(tmp_path, -np.arange(15, dtype=np.int16).reshape(3, 5)))
    assert samples.marks is not None
    parts = samples.split(2)
    assert [len(part) for part in parts] == [2, 1]
    for part in [*parts, Samples.cat(parts), samples.to(torch.device("cpu"))]:
        assert part.marks is not None
        assert torch.equal(part.tokens, -part.marks.long())
    assert torch.equal(Samples.cat(parts).tokens, samples.tokens)


@pytest.mark.parametrize("marks", [np.zeros((3, 4), np.int16), np.zeros((3, 5), np.int32)])
def test_marks_that_do_not_fit_are_refused(tmp_path: Path, marks: np.ndarray[Any, Any]) -> None:
    with pytest.raises(CorruptError, match="marks do not fit"):
        read_samples(marked(tmp_path, marks))
