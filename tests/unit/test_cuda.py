"""The same promises on a GPU: these tests run where torch finds one that it can use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from peer.adapters import initial
from peer.codecs.selection import BLOCK, largest_on, largest_on_host
from peer.device import hardware, place
from peer.dropout import Drawn, SampleDropout
from peer.gradients import Gradients
from peer.memory import out_of_memory, release
from peer.model import seeded, trainable
from peer.optimizer import AdamW
from peer.trained import blank_adapted, trained_model
from tests.tiny_base import make_base
from tests.unit import test_adapters as adapters
from tests.unit import test_gradients as gradients

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 0.05), ("fp16", 0.01)])
def test_gradients_are_those_of_the_cpu(precision: str, tolerance: float) -> None:
    model = gradients.network()
    exact = gradients.plain(model, gradients.samples(8))
    placement = place(gradients.spec(precision), "cuda", hardware())
    there = model.to(placement.device)
    found = Gradients(there, trainable(there), placement, gradients.LENGTH, 4, print)
    found.add(gradients.samples(8))
    mean = found.mean(8)
    error = sum(float((mean[name].cpu() - exact[name]).square().sum()) for name in exact) ** 0.5
    norm = sum(float(tensor.square().sum()) for tensor in exact.values()) ** 0.5
    assert error < tolerance * norm


def test_the_optimizer_gives_the_same_bytes_as_on_the_cpu() -> None:
    states = []
    for device in ("cpu", "cuda"):
        model = gradients.network().to(device)
        parameters = trainable(model)
        optimizer = AdamW(parameters, gradients.spec().training)
        generator = torch.Generator().manual_seed(3)
        for step in range(1, 6):
            update = {name: torch.randn(p.shape, generator=generator) for name, p in parameters.items()}
            optimizer.step(update, step, 1e-3)
        states.append({name: parameter.detach().cpu() for name, parameter in parameters.items()})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(("method", "kind"), adapters.KINDS)
def test_adapters_learn(tmp_path: Path, method: str, kind: str) -> None:
    base = make_base(tmp_path / "base", ["The house is small and the garden is green."] * 20)
    run = adapters.spec(base, method, kind)
    placement = place(run, "cuda", hardware())
    model = trained_model(run, base, placement)
    adapters.take(model, initial(blank_adapted(run, base), 0))
    parameters = trainable(model)
    found = Gradients(model, parameters, placement, adapters.LENGTH, 4, print)
    losses = []
    for _ in range(60):
        losses.append(found.add(adapters.samples()) / 4)
        with torch.no_grad():
            for name, gradient in found.mean(4).items():
                parameters[name].sub_(2 * gradient.to(placement.device))
        found.forget()
    assert losses[-1] < 0.97 * losses[0]


def test_running_out_of_the_gpus_memory_is_recognised() -> None:
    with pytest.raises(torch.OutOfMemoryError) as error:
        torch.zeros(1 << 46, dtype=torch.uint8, device="cuda")
    assert out_of_memory(error.value)
    release(torch.device("cuda"))


def test_the_codec_chooses_the_same_values_there() -> None:
    blocks = np.random.default_rng(0).standard_normal((5000, BLOCK)).astype(np.float32)
    chosen = [np.sort(way(blocks, 64), axis=1) for way in (largest_on_host, largest_on("cuda:0"))]
    assert np.array_equal(*chosen)


def test_dropout_drops_the_same_there() -> None:
    tokens, values = torch.randint(0, 50_000, (4, 64)), torch.ones(4, 64, 256)
    found = []
    for device in ("cpu", "cuda"):
        (drawn := Drawn()).look(tokens.to(device))
        found.append(SampleDropout(0.3, 7, drawn)(values.to(device)).cpu())
    assert torch.equal(*found)


def test_a_text_leaves_the_gpus_random_numbers_as_they_were() -> None:
    before = torch.cuda.get_rng_state()
    with seeded(1, torch.device("cuda", torch.cuda.current_device())):
        first = torch.rand(3, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)
    with seeded(1):
        torch.rand(3)
    assert torch.equal(torch.cuda.get_rng_state(), before)
    with seeded(1, torch.device("cuda", torch.cuda.current_device())):
        assert torch.equal(torch.rand(3, device="cuda"), first)
