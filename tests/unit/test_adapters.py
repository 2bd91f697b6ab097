"""Adapters on a frozen base, quantised for real on the CPU; and their export, read by plain peft."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from peer.adapters import initial, quantization
from peer.checkpoint import state_digest, write_state
from peer.data import Samples
from peer.device import Hardware, place
from peer.export import export
from peer.gradients import Gradients
from peer.model import loss_sum, trainable
from peer.modelfolder import opened
from peer.tokenizer import END
from peer.trained import blank_adapted, trained_model, untrained
from swarm.errors import CorruptError, ModelError
from swarm.runspec import RunSpec, loads
from tests.tiny_base import make_base

LENGTH = 16
KINDS = [("lora", "nf4"), ("qlora", "nf4"), ("qlora", "int8")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"), ["The house is small and the garden is green."] * 20)


def spec(base: Path, method: str = "lora", quantization: str = "nf4", **keys: Any) -> RunSpec:
    return loads(
        f"""
        [run]
        name = "test"
        [model]
        source = "{base}"
        tokenizer = "model"
        method = "{method}"
        quantization = "{quantization}"
        [lora]
        rank = 4
        targets = "{keys.get("targets", "all-linear")}"
        [data]
        source = "builtin:pydoc-topics"
        sequence_length = {LENGTH}
        [training]
        rounds = 1
        target_batch_size = 8
        gradient_checkpointing = {str(keys.get("recompute", False)).lower()}
        """
    )


def samples(count: int = 4) -> Samples:
    return Samples(torch.randint(0, 512, (count, LENGTH + 1), generator=torch.Generator().manual_seed(count)))


def working(run: RunSpec, base: Path) -> nn.Module:
    return trained_model(run, base, place(run, "cpu", Hardware()))


def take(model: nn.Module, values: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(values[name])


def some_values(run: RunSpec, base: Path) -> dict[str, Tensor]:
    """Adapters that do something: B is not zero."""
    generator = torch.Generator().manual_seed(5)
    return {
        name: value + 0.05 * torch.randn(value.shape, generator=generator)
        for name, value in initial(blank_adapted(run, base), 0).items()
    }


def loss(model: nn.Module) -> float:
    model.eval()
    with torch.no_grad():
        return float(loss_sum(model, samples(), LENGTH))


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_round_0_is_the_base(base: Path, method: str, kind: str) -> None:
    run = spec(base, method, kind)
    model = working(run, base)
    take(model, initial(blank_adapted(run, base), run.run.seed))
    config = quantization(run, torch.float32)
    where = {"quantization_config": config, "device_map": {"": "cpu"}} if config else {}
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **where)
    assert loss(model) == pytest.approx(loss(plain), rel=1e-6)


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_only_adapters_are_trained_and_they_are_fp32(base: Path, method: str, kind: str) -> None:
    run = spec(base, method, kind)
    parameters = trainable(working(run, base))
    assert parameters.keys() == untrained(run, base, base)[1].keys()
    assert all("lora_" in name and p.dtype is torch.float32 for name, p in parameters.items())
    assert sum(p.numel() for p in parameters.values()) < 40_000  # the base has 115 thousand


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_adapters_learn(base: Path, method: str, kind: str) -> None:
    run = spec(base, method, kind)
    model = working(run, base)
    parameters = trainable(model)
    take(model, initial(blank_adapted(run, base), 0))
    gradients = Gradients(model, parameters, place(run, "cpu", Hardware()), LENGTH, 4, print)
    losses = []
    for _ in range(60):
        losses.append(gradients.add(samples()) / 4)
        with torch.no_grad():
            for name, gradient in gradients.mean(4).items():
                parameters[name].sub_(2 * gradient)
        gradients.forget()
    assert losses[-1] < 0.97 * losses[0]


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_recomputing_activations_changes_no_gradient(base: Path, method: str, kind: str) -> None:
    found = []
    for recompute in (False, True):
        run = spec(base, method, kind, recompute=recompute)
        model = working(run, base)
        take(model, some_values(run, base))
        gradients = Gradients(model, trainable(model), place(run, "cpu", Hardware()), LENGTH, 4, print)
        gradients.add(samples())
        found.append(gradients.mean(4))
    torch.testing.assert_close(found[0], found[1])
    assert all(bool(tensor.any()) for tensor in found[0].values())


def test_the_first_values_depend_on_the_seed_alone(base: Path) -> None:
    run = spec(base)
    model = blank_adapted(run, base)
    assert state_digest(initial(model, 1)) == state_digest(initial(working(run, base), 1))
    assert state_digest(initial(model, 1)) != state_digest(initial(model, 2))


def test_targets_that_the_model_does_not_have_are_refused(base: Path) -> None:
    with pytest.raises(ModelError, match="Adapters cannot be put") as refusal:
        blank_adapted(spec(base, targets="no_such_layer"), base)
    assert "lora.targets" in refusal.value.remedy


def test_a_base_without_weights_is_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    with pytest.raises(ModelError, match="no weights in safetensors"):
        untrained(spec(tmp_path), base, tmp_path)


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_the_exported_adapter_loads_with_plain_peft_and_gives_the_same_loss(
    base: Path, tmp_path: Path, method: str, kind: str
) -> None:
    run = spec(base, method, kind)
    values = some_values(run, base)
    ours = working(run, base)
    take(ours, values)
    export(run, base, state_file(tmp_path, values), tmp_path / "out", merged=False)
    config = quantization(run, torch.float32)
    where = {"quantization_config": config, "device_map": {"": "cpu"}} if config else {}
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **where)
    theirs = PeftModel.from_pretrained(plain, tmp_path / "out")
    assert loss(theirs) == pytest.approx(loss(ours), rel=1e-6)
    assert loss(theirs) != pytest.approx(loss(theirs.unload()), rel=1e-3)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").eos_token == END


def test_an_exported_adapter_is_opened_over_its_bases_folder_and_answers_as_in_plain_peft(
    base: Path, tmp_path: Path
) -> None:
    run = spec(base)
    export(run, base, state_file(tmp_path, some_values(run, base)), tmp_path / "out", merged=False)
    model, tokenizer = opened(tmp_path / "out", base, torch.device("cpu"))
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    unadapted = answer(plain, tokenizer)
    theirs = PeftModel.from_pretrained(plain, tmp_path / "out").eval()
    tokens = samples().tokens
    with torch.no_grad():
        torch.testing.assert_close(model(tokens).logits, theirs(tokens).logits, rtol=0, atol=1e-5)
    assert answer(model, tokenizer) == answer(theirs, AutoTokenizer.from_pretrained(tmp_path / "out")) != unadapted

    path = tmp_path / "out" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"megatron_config": {"x": 1}, "megatron_core": "this"}))
    with pytest.raises(CorruptError, match="no plain LoRA adapter"):
        opened(tmp_path / "out", base, torch.device("cpu"))  # peft would import a module of the adapter's choice


def answer(model: Any, tokenizer: Any) -> str:
    """The likeliest words after a beginning."""
    asked = tokenizer("The house is", return_tensors="pt")
    return str(tokenizer.decode(model.generate(**asked, max_new_tokens=16, do_sample=False)[0]))


def test_the_merged_export_needs_no_peft_and_gives_the_same_loss(base: Path, tmp_path: Path) -> None:
    run = spec(base)
    values = some_values(run, base)
    ours = working(run, base)
    take(ours, values)
    export(run, base, state_file(tmp_path, values), tmp_path / "out", merged=True, gguf="f16")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loss(merged) == pytest.approx(loss(ours), rel=1e-4)
    assert not list((tmp_path / "out").glob("adapter*"))
    assert (tmp_path / "out" / "gguf" / "test-f16.gguf").read_bytes().startswith(b"GGUF")
    assert (tmp_path / "out" / "Modelfile").read_text().startswith("FROM ./gguf/test-f16.gguf\n")


def state_file(folder: Path, values: dict[str, Tensor]) -> Path:
    state = {f"model/{name}": value for name, value in values.items()}
    write_state(folder / "state", state, {"digest": state_digest(state)})
    return folder / "state"
