"""Models: the same weights everywhere, losses that add up, text; and what cannot be loaded, said in plain words."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, GPT2Config

from peer.artefacts import Workshop
from peer.checkpoint import state_digest
from peer.data import Samples, read_samples
from peer.model import (
    PRESETS,
    Drawing,
    continued,
    evaluate,
    initial_model,
    load_model,
    load_tokenizer,
    loss_sum,
    seeded,
    trainable,
)
from peer.tokenizer import byte_level, make_tokenizer
from swarm.errors import ModelError
from swarm.runspec import RunSpec, loads

TOKENS = torch.randint(0, 257, (4, 9), generator=torch.Generator().manual_seed(0))
SAMPLES = Samples(TOKENS)


def spec(source: str = "preset:tiny-llama", tokenizer: str = "bytes", **keys: Any) -> RunSpec:
    revision = f'revision = "{keys["revision"]}"' if "revision" in keys else ""
    return loads(
        f"""
        [run]
        name = "test"
        seed = {keys.get("seed", 0)}
        [model]
        source = "{source}"
        tokenizer = "{tokenizer}"
        {revision}
        [data]
        source = "builtin:pydoc-topics"
        sequence_length = {keys.get("length", 8)}
        [training]
        rounds = 1
        target_batch_size = 8
        """
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer and the configuration of a tiny model, as volunteers fetch them."""
    path = tmp_path_factory.mktemp("model")
    byte_level(257, ()).save_pretrained(path)
    config: Any = initial_model(spec(), path, path).config
    config.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> nn.Module:
    return initial_model(spec(), folder, folder)


def digest(model: nn.Module) -> str:
    return state_digest(dict(trainable(model)))


def test_the_seed_alone_decides_the_weights(folder: Path, model: nn.Module) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert digest(initial_model(spec(), folder, folder)) == digest(model)
    assert digest(initial_model(spec(seed=1), folder, folder)) != digest(model)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_loaded_configuration_takes_the_state_of_the_initial_model(folder: Path, model: nn.Module) -> None:
    loaded = load_model(folder)
    assert loaded.training
    ours, theirs = trainable(loaded), trainable(model)
    assert {n: p.shape for n, p in ours.items()} == {n: p.shape for n, p in theirs.items()}
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(theirs[name])
    assert torch.equal(loss_sum(loaded, SAMPLES, 8), loss_sum(model, SAMPLES, 8))


def test_parameters_are_sorted_fp32_and_tied_ones_come_once(model: nn.Module) -> None:
    parameters = trainable(model)
    assert list(parameters) == sorted(parameters)
    assert {p.dtype for p in parameters.values()} == {torch.float32}
    assert not any("lm_head" in name for name in parameters)


def test_tiny_llama_has_one_to_two_million_parameters(tmp_path: Path) -> None:
    tokenizer = byte_level(1024, ["to be or not to be, " * 9 + str(n) for n in range(1000)])
    tokenizer.save_pretrained(tmp_path)
    sizes = PRESETS["tiny-llama"]
    embeddings = 1024 * sizes["hidden_size"]
    tiny = trainable(initial_model(spec(), tmp_path, tmp_path))
    rest = sum(p.numel() for name, p in tiny.items() if "embed" not in name)
    assert 1e6 <= embeddings + rest <= 2e6


def test_losses_and_gradients_add_up(model: nn.Module) -> None:
    def gradient(*batches: Samples) -> torch.Tensor:
        model.zero_grad()
        for batch in batches:
            loss_sum(model, batch, 8).backward()
        found = trainable(model)["model.norm.weight"].grad
        assert found is not None
        return found.clone()

    torch.testing.assert_close(gradient(SAMPLES), gradient(SAMPLES[:1], SAMPLES[1:]))
    logits = model(input_ids=TOKENS[:, :-1]).logits
    mean = cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten())
    torch.testing.assert_close(loss_sum(model, SAMPLES, 8), mean * len(TOKENS))


def test_evaluation_is_the_mean_per_token_whatever_the_batch(model: nn.Module, tmp_path: Path) -> None:
    heldout = Workshop(tmp_path)
    heldout.open()
    blob = heldout.put("heldout.safetensors", save({"tokens": TOKENS.int()}))
    path = tmp_path / "blobs" / blob.sha256
    expected = float(loss_sum(model, SAMPLES, 8).detach()) / len(TOKENS)
    assert len(read_samples(path)) == 4
    assert evaluate(model, path, 4) == pytest.approx(expected)
    assert evaluate(model, path, 3) == pytest.approx(expected)
    assert model.training


def test_a_text_goes_on_from_its_prompt_and_follows_its_seed(folder: Path, model: nn.Module) -> None:
    tokenizer, drawing = load_tokenizer(folder), Drawing(20)
    text = continued(model, tokenizer, "The ", drawing, seed=1)
    assert text == continued(model, tokenizer, "The ", drawing, seed=1)
    assert text != continued(model, tokenizer, "The ", drawing, seed=2)
    assert not text.startswith("The ")
    assert continued(model, tokenizer, "", Drawing(5), seed=1)
    likeliest = Drawing(20, temperature=0.0)
    assert len({continued(model, tokenizer, "The ", likeliest, seed) for seed in range(3)}) == 1
    assert model.training


def test_byte_tokens_give_any_text_back() -> None:
    tokenizer = byte_level(257, ())
    text = " Straße\n\t日本 \x00 e\u0301 ."
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_bpe_is_trained_alike_each_time_and_shortens() -> None:
    texts = ["the cat sat on the mat", "the dog sat on the log"] * 20
    one, two = (make_tokenizer(spec(tokenizer="bpe:280"), texts, Path()) for _ in range(2))
    assert one.get_vocab() == two.get_vocab()
    assert 257 < len(one) <= 280  # so short a text has few pairs to merge
    assert len(one("the cat sat")["input_ids"]) < 8


@pytest.fixture
def own(tmp_path: Path, folder: Path) -> Path:
    """A folder with a small pretrained model of another family, with weights and a tokenizer."""
    path = tmp_path / "own"
    shutil.copytree(folder, path)
    config = GPT2Config(vocab_size=257, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0)
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    return path


def test_a_local_folder_brings_weights_and_tokenizer(own: Path, tmp_path: Path) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(own)
    tokenizer = make_tokenizer(spec("./own", "model"), [], tmp_path)
    assert len(tokenizer) == 257
    assert digest(initial_model(spec("./own", "model"), own, tmp_path)) == digest(theirs)


def test_a_folder_without_weights_is_initialised_from_the_seed(own: Path, tmp_path: Path) -> None:
    (own / "model.safetensors").unlink()
    one, two = (initial_model(spec("./own", seed=seed), own, tmp_path) for seed in (1, 2))
    assert digest(one) != digest(two)
    assert digest(one) == digest(initial_model(spec("./own", seed=1), own, tmp_path))


def refusal(run: RunSpec, tokenizer: Path, base: Path) -> str:
    with pytest.raises(ModelError) as caught:
        initial_model(run, tokenizer, base)
    assert caught.value.remedy
    assert "\n" not in caught.value.what
    return caught.value.what


def test_what_cannot_be_loaded_is_said(folder: Path, own: Path, tmp_path: Path) -> None:
    assert "no model preset 'huge'" in refusal(spec("preset:huge"), folder, tmp_path)
    assert "no config.json" in refusal(spec("./nowhere"), folder, tmp_path)
    assert "takes 16 tokens" in refusal(spec("./own", length=32), own, tmp_path)
    weights = (own / "model.safetensors").read_bytes()
    (own / "model.safetensors").write_bytes(weights[:5000])
    assert "cannot be loaded" in refusal(spec("./own"), own, tmp_path)
    (own / "config.json").write_text('{"model_type": "unheard-of"}')
    assert "cannot be loaded" in refusal(spec("./own"), own, tmp_path)


def test_code_of_a_model_is_never_run(own: Path, tmp_path: Path) -> None:
    (own / "config.json").write_text('{"model_type": "x", "auto_map": {"AutoConfig": "evil.C"}}')
    (own / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass")
    assert "cannot be loaded" in refusal(spec("./own"), own, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_larger_than_the_model_is_refused(own: Path, tmp_path: Path) -> None:
    byte_level(300, ["the cat sat on the mat and the dog too"] * 9).save_pretrained(tmp_path / "large")
    assert "only 257" in refusal(spec("./own"), tmp_path / "large", tmp_path)


def test_a_hub_out_of_reach_is_said_within_seconds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    begin = time.monotonic()
    assert "out of reach" in refusal(spec("org/name", revision="0" * 40), folder, folder)
    assert time.monotonic() - begin < 10


def test_what_is_drawn_from_a_seed_leaves_the_other_random_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is spoken to: hivemind forks before one is touched."""
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("GPUs are seeded"))
    before = torch.get_rng_state()
    with seeded(1):
        drawn = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(1):
        assert torch.equal(torch.rand(3), drawn)
