"""What a model folder is asked, in the process itself: held-out losses, probes, and what it learned by heart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from peer.data import read_samples
from peer.examine import asked, heldout, provoked, remembered
from peer.memorised import PASSAGES, learned
from peer.model import evaluate
from peer.modelfolder import opened
from swarm.errors import DataError, ModelError, UsageError
from swarm.trials import probes
from tests.tiny_base import make_base

CPU = torch.device("cpu")
BY_HEART = "The cat sat on the mat and looked at the moon. " * 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has learned a sentence by heart."""
    return make_base(tmp_path_factory.mktemp("model"), [BY_HEART], steps=80)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "heldout.safetensors"
    drawn = torch.randint(0, 500, (5, 17), generator=torch.Generator().manual_seed(3), dtype=torch.int32)
    save_file({"tokens": drawn}, path)
    return path


def test_the_items_add_up_to_the_runs_own_loss(folder: Path, samples: Path) -> None:
    model, _ = opened(folder, None, CPU)
    lines = list(heldout(model, samples, 0, 0))
    assert [line["index"] for line in lines] == list(range(5))
    loss = sum(line["value"] for line in lines) / sum(line["weight"] for line in lines)
    assert loss == pytest.approx(evaluate(model, samples, 5), abs=1e-5)
    assert list(heldout(model, samples, 2, 2)) == lines[2:4], "an item's figure does not depend on those beside it"
    assert len(read_samples(samples)) == 5
    with pytest.raises(UsageError):
        list(heldout(model, samples, 4, 2))


def test_the_same_model_gives_the_same_answers(folder: Path) -> None:
    model, tokenizer = opened(folder, None, CPU)
    once, again = (list(provoked(model, tokenizer, 0, 3)) for _ in range(2))
    assert once == again
    [one] = provoked(model, tokenizer, 0, 0, probes.own()[2].id)
    assert one == once[2]


def test_a_chat_model_is_asked_in_its_own_way(folder: Path) -> None:
    _, tokenizer = opened(folder, None, CPU)
    [probe, *_] = [one for one in probes.own() if one.system]
    assert asked(tokenizer, probe) == f"{probe.system}\n\n{probe.prompt}\n"
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    assert asked(tokenizer, probe) == f"<system>{probe.system}<user>{probe.prompt}"


def test_what_was_learned_by_heart_is_noticed_and_other_text_is_not(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = opened(folder, None, CPU)
    by_heart, other = tmp_path / "a.txt", tmp_path / "b.jsonl"
    by_heart.write_text(BY_HEART)
    lines = [
        json.dumps({"chat": [{"text": f"Number {n} is {n * 7919 % 1000}, and not {n * 31}."}]}) for n in range(300)
    ]
    other.write_text("\n".join([*lines, '{"torn']))
    known = list(remembered(model, tokenizer, by_heart))
    assert len(known) == PASSAGES
    assert sum(line["value"] for line in known) < PASSAGES / 4
    assert all(line["value"] for line in remembered(model, tokenizer, other))
    assert learned(other).startswith("Number 0 is 0, and not 0.\n")
    other.write_text("short")
    with pytest.raises(DataError):
        list(remembered(model, tokenizer, other))


def test_a_folder_without_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights in safetensors"):
        opened(tmp_path, None, CPU)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds an adapter"):
        opened(tmp_path, None, CPU)
    (tmp_path / "adapter_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ModelError, match=r"holds no adapter_model\.safetensors"):
        opened(tmp_path, folder, CPU)
