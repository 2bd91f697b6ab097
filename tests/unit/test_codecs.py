"""hivemind's codecs on the pinned NumPy, and what of hivemind's all-reduce we had to go around."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from peer.exchange.average import measure
from peer.exchange.butterfly import CODECS, tensors_from, vectors

from hivemind.compression import CompressionInfo, deserialize_torch_tensor  # isort: skip - after peer.exchange


@pytest.mark.parametrize(("codec", "error"), [("none", 0.0), ("fp16", 1e-3), ("8bit", 0.03)])
def test_a_codec_gives_back_what_it_took(codec: str, error: float) -> None:
    """With NumPy 2.4 and later the 8-bit codec raises a TypeError on receipt: that is why NumPy is pinned."""
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    sent = CODECS[codec]().compress(values, CompressionInfo.from_tensor(values))
    received = deserialize_torch_tensor(sent)
    assert received.dtype == torch.float32
    assert float((received - values).square().mean().sqrt()) <= error


def test_numpy_is_older_than_the_version_that_breaks_the_codecs() -> None:
    assert tuple(map(int, np.__version__.split(".")[:2])) < (2, 4)


@pytest.mark.parametrize("codec", CODECS)
def test_zeros_survive_every_codec(codec: str) -> None:
    """A peer without samples sends zeros; a scale of zero must not turn them into NaN."""
    zeros = torch.zeros(1000)
    sent = CODECS[codec]().compress(zeros, CompressionInfo.from_tensor(zeros))
    assert torch.equal(deserialize_torch_tensor(sent), zeros)


@pytest.mark.parametrize("codec", CODECS)
def test_vectors_and_back(codec: str) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(7.0), "c": torch.arange(4.0)}
    back = tensors_from(vectors(tensors, codec), tensors)
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_the_difference_that_stock_hivemind_returns_does_not_give_the_average_back() -> None:
    """own + (average - own), what hivemind 1.1.12 computes at each sender, differs between senders in the last bits."""
    ours, theirs = torch.randn(2, 10_000, generator=torch.Generator().manual_seed(1)) * torch.tensor([[1.0], [100.0]])
    average = (ours + theirs) / 2
    assert not torch.equal(ours + (average - ours), theirs + (average - theirs))


def test_measure_says_when_an_average_is_not_finite() -> None:
    good, bad = {"a": torch.tensor([3.0, 4.0])}, {"a": torch.tensor([1.0, float("nan")])}
    assert measure(good).norm == 5.0
    assert not measure(good).broken
    assert "not finite" in measure(bad).broken
    assert measure(good).digest != measure({"a": torch.tensor([3.0, 4.0000005])}).digest
