"""Gradients of a round: exact sums, in half precision too, and nothing lost when memory runs out in the middle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from peer.data import Samples
from peer.device import Hardware, Placement, place
from peer.gradients import Gradients
from peer.memory import out_of_memory
from peer.model import loss_sum, trainable
from swarm.errors import ModelError
from swarm.runspec import RunSpec, loads

ROOT = Path(__file__).parents[2]
LENGTH = 16


def spec(precision: str = "fp32") -> RunSpec:
    return loads(
        f"""
        [run]
        name = "test"
        [model]
        source = "preset:tiny-llama"
        tokenizer = "bytes"
        [data]
        source = "builtin:pydoc-topics"
        sequence_length = {LENGTH}
        [training]
        rounds = 1
        target_batch_size = 8
        precision = "{precision}"
        """
    )


def samples(count: int) -> Samples:
    return Samples(torch.randint(0, 257, (count, LENGTH + 1), generator=torch.Generator().manual_seed(count)))


def network() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    return LlamaForCausalLM(config)


def gradients(model: nn.Module, micro_batch: int = 4, precision: str = "fp32") -> Gradients:
    placement = place(spec(precision), "cpu", Hardware())
    return Gradients(model, trainable(model), placement, LENGTH, micro_batch, print)


def plain(model: nn.Module, batch: Samples) -> dict[str, Tensor]:
    """The mean gradient as torch computes it at once."""
    parameters = trainable(model)
    loss = loss_sum(model, batch, LENGTH) / len(batch)
    found = torch.autograd.grad(loss, list(parameters.values()))
    return dict(zip(parameters, found, strict=True))


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_the_mean_does_not_depend_on_the_micro_batch(micro_batch: int) -> None:
    model = network()
    found = gradients(model, micro_batch)
    loss = found.add(samples(8))
    torch.testing.assert_close(loss, float(loss_sum(model, samples(8), LENGTH).detach()), rtol=1e-5, atol=0)
    torch.testing.assert_close(found.mean(8), plain(model, samples(8)))


class Sums(nn.Module):
    """Two parameters that are added, and one that counts for all tokens alike: their gradients share memory."""

    def __init__(self) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(257, generator=drawn))
        self.second = nn.Parameter(torch.randn(257, generator=drawn))
        self.tilt = nn.Parameter(torch.ones(257))

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        logits = self.first + self.second + self.tilt.sum() * torch.arange(257) / 257
        return SimpleNamespace(logits=logits.repeat(*input_ids.shape, 1))


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 0.01)])
def test_parameters_whose_gradients_share_memory_get_each_its_own(precision: str, tolerance: float) -> None:
    model = Sums()
    found = gradients(model, 2, precision)
    found.add(samples(8))
    torch.testing.assert_close(found.mean(8), plain(model, samples(8)), rtol=tolerance, atol=tolerance)


def test_a_round_begins_without_gradients() -> None:
    found = gradients(network())
    assert all(not tensor.any() for tensor in found.mean(0).values())
    found.add(samples(2))
    found.forget()
    assert all(not tensor.any() for tensor in found.mean(0).values())


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.01)])
def test_half_precision_computes_nearly_the_same_and_keeps_fp32(precision: str, tolerance: float) -> None:
    model = network()
    found = gradients(model, precision=precision)
    found.add(samples(8))
    mean, exact = found.mean(8), plain(model, samples(8))
    assert {tensor.dtype for tensor in mean.values()} == {torch.float32}
    error = sum(float((mean[name] - exact[name]).square().sum()) for name in exact) ** 0.5
    norm = sum(float(tensor.square().sum()) for tensor in exact.values()) ** 0.5
    assert error < tolerance * norm


@pytest.mark.parametrize("factor", [2.0**8, 2.0**26], ids=["a few halvings", "below 1"])
def test_an_overflow_in_fp16_halves_the_scale_and_loses_no_sample(factor: float) -> None:
    model, calls = network(), []

    def enlarge(module: nn.Module, given: Any, made: Tensor) -> None:
        calls.append(made.dtype)
        made.register_hook(lambda gradient: (gradient.float() * factor).to(gradient.dtype))

    model.model.layers[0].mlp.down_proj.register_forward_hook(enlarge)
    found = gradients(model, precision="fp16")
    found.add(samples(4))
    assert calls[0] is torch.float16
    assert len(calls) > 1  # it did overflow
    assert all(bool(tensor.isfinite().all()) and bool(tensor.any()) for tensor in found.mean(4).values())


def test_gradients_that_are_never_finite_are_said_so() -> None:
    model = network()
    next(model.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(ModelError, match="overflow"):
        gradients(model, precision="fp16").add(samples(1))


class Hungry(nn.Module):
    """Runs out of memory whenever more than `limit` samples come at once, in the backward pass."""

    def __init__(self, inner: nn.Module, limit: int) -> None:
        super().__init__()
        self.inner = inner
        self.limit = limit

    def forward(self, **inputs: Any) -> Any:
        found = self.inner(**inputs)
        if len(inputs["input_ids"]) > self.limit:
            found.logits.register_hook(self._fail)
        return found

    def _fail(self, _: Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_running_out_of_memory_halves_the_micro_batch_and_loses_nothing() -> None:
    model = network()
    said: list[str] = []
    placement = place(spec(), "cpu", Hardware())
    found = Gradients(Hungry(model, 3), trainable(model), placement, LENGTH, 8, said.append)
    found.add(samples(2))
    found.add(samples(8))
    found.add(samples(5))
    one_by_one = gradients(model, 1)
    for count in (2, 8, 5):
        one_by_one.add(samples(count))
    torch.testing.assert_close(found.mean(15), one_by_one.mean(15))
    assert found.micro_batch == 2
    assert said == [
        "memory ran out with 8 samples at once; going on with 4",
        "memory ran out with 4 samples at once; going on with 2",
    ]


def test_one_sample_that_does_not_fit_is_said_with_what_to_do() -> None:
    model = network()
    placement: Placement = place(spec(), "cpu", Hardware())
    with pytest.raises(ModelError, match="does not fit") as refusal:
        Gradients(Hungry(model, 0), trainable(model), placement, LENGTH, 8, print).add(samples(4))
    assert "gradient_checkpointing" in refusal.value.remedy


def test_torch_really_says_that_memory_ran_out_as_we_understand_it() -> None:
    """With the kernel's own limit on memory: no imitation of torch's error."""
    program = (
        "import resource, torch\n"
        "from peer.memory import out_of_memory\n"
        "torch.zeros(1)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))\n"
        "try:\n"
        "    torch.zeros(1 << 40)\n"
        "except Exception as error:\n"
        "    print(out_of_memory(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "True"


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("out of memory"))


def test_what_is_rehearsed_needs_as_much_memory_as_the_middle_of_a_round() -> None:
    """Sums of a round lie beside the gradients of its next micro-batch."""
    found = gradients(network())
    held: list[int] = []
    found._compute = lambda samples: held.append(sum(map(torch.numel, found._sums.values())))  # type: ignore
    found.rehearse(samples(2))
    assert held == [sum(map(torch.numel, network().parameters()))]
    assert not found._sums, "and nothing is kept of it"


def test_a_step_takes_the_sums_in_their_own_memory_and_begins_anew() -> None:
    found = gradients(network())
    found.add(samples(3))
    mean, places = found.mean(3), {name: tensor.data_ptr() for name, tensor in found._sums.items()}
    taken = found.take(3)
    assert {name: tensor.data_ptr() for name, tensor in taken.items()} == places
    assert all(torch.equal(taken[name], mean[name]) for name in mean)
    assert all(not tensor.any() for tensor in found.take(0).values())
