"""Dropout: everybody drops the same of a sample, and as much as was asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from peer.data import Samples
from peer.device import Hardware, place
from peer.dropout import Drawn, SampleDropout, _mixed, draw_alike
from peer.gradients import Gradients
from peer.model import trainable
from swarm.errors import ModelError
from tests.unit import test_adapters as adapters
from tests.unit.test_gradients import LENGTH, samples, spec

WHOLE = (1 << 32) - 1


def drawn(count: int, seed: int = 0) -> Drawn:
    found, tokens = Drawn(), torch.randint(0, 50_000, (count, 32), generator=torch.Generator().manual_seed(seed))
    found.look(tokens)
    return found


def kept(layer: SampleDropout, *shape: int) -> Tensor:
    return layer(torch.ones(shape)) != 0


def test_bits_are_mixed_as_in_unsigned_integers() -> None:
    values = np.random.default_rng(0).integers(0, WHOLE, 10_000, np.uint32)
    expected = values.copy()
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        expected = (expected ^ (expected >> np.uint32(shift))) * np.uint32(factor)
    expected ^= expected >> np.uint32(16)
    assert np.array_equal(_mixed(torch.from_numpy(values.view(np.int32))).numpy().view(np.uint32), expected)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_as_much_is_dropped_as_was_asked_and_the_mean_stays(part: float) -> None:
    values = SampleDropout(part, 7, drawn(8))(torch.ones(8, 64, 256))
    assert abs(float((values == 0).double().mean()) - part) < 0.005
    assert abs(float(values.mean()) - 1) < 0.02


def test_layers_samples_and_places_drop_apart() -> None:
    one, other = (kept(SampleDropout(0.5, layer, drawn(4)), 4, 64, 256) for layer in (7, 8))
    for a, b in ((one, other), (one[0], one[1]), (one[:, 0], one[:, 1]), (one[..., :-1], one[..., 1:])):
        assert abs(float((a == b).double().mean()) - 0.5) < 0.03


def test_nothing_is_dropped_but_in_training() -> None:
    values = torch.randn(4, 8)
    assert torch.equal(SampleDropout(0.5, 7, Drawn()).eval()(values), values)


def test_a_layer_that_mixes_samples_is_refused() -> None:
    with pytest.raises(ModelError, match="mixes samples"):
        SampleDropout(0.5, 7, drawn(4))(torch.ones(9, 3))


def gradient(model: nn.Module, data: Samples, micro_batch: int, seed: int) -> dict[str, Tensor]:
    """With the machine's random numbers at `seed`."""
    torch.manual_seed(seed)
    parameters, placement = trainable(model), place(spec(), "cpu", Hardware())
    found = Gradients(model, parameters, placement, LENGTH, micro_batch, print)
    found.add(data)
    return found.mean(len(data))


def assert_alike(model: nn.Module, data: Samples) -> None:
    """Another member and its checker: other random numbers, another micro-batch, samples in another order."""
    one, other = gradient(model, data, 4, seed=1), gradient(model, Samples(data.tokens.flip(0)), 3, seed=2)
    for name, values in one.items():
        torch.testing.assert_close(values, other[name], rtol=1e-4, atol=1e-6)


def test_adapters_drop_the_same_at_every_member(tmp_path: Path) -> None:
    base = adapters.make_base(tmp_path / "base", ["The house is small and the garden is green."] * 20)
    run = adapters.spec(base)
    without = adapters.working(run, base)
    run = run.model_copy(update={"lora": run.lora.model_copy(update={"dropout": 0.3})})
    model = adapters.working(run, base)
    for one in (model, without):
        adapters.take(one, adapters.some_values(run, base))
    data = adapters.samples(8)
    assert_alike(model, data)
    plain, dropped = (gradient(one, data, 4, 1) for one in (without, model))
    assert any(not torch.allclose(plain[name], dropped[name], rtol=0.01) for name in plain), "it drops something"


def test_so_does_a_model_with_dropout_of_its_own() -> None:
    """GPT-2 drops a tenth behind each layer, and in its attention by the device's random numbers."""
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 257}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).train()
    draw_alike(model, 0)
    assert_alike(model, samples(8))


def test_dropping_again_in_the_backward_pass_is_the_same(tmp_path: Path) -> None:
    base = adapters.make_base(tmp_path / "base", ["The house is small and the garden is green."] * 20)
    found = []
    for recompute in (False, True):
        run = adapters.spec(base, recompute=recompute)
        run = run.model_copy(update={"lora": run.lora.model_copy(update={"dropout": 0.3})})
        model = adapters.working(run, base)
        adapters.take(model, adapters.some_values(run, base))
        found.append(gradient(model, adapters.samples(4), 2, seed=3))
    for name, values in found[0].items():
        torch.testing.assert_close(values, found[1][name], rtol=1e-4, atol=1e-6)
