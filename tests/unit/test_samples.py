"""What a model writes at an evaluation: the same at every member, within its time, and no reason to end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from peer.adapters import initial
from peer.device import Hardware, place
from peer.measuring import Measuring
from peer.model import Drawing, load_model, load_tokenizer, trainable
from peer.samples import Writing, seed_of
from peer.trained import blank_adapted, trained_model
from swarm.texts import TEXT_BYTES, fits
from tests.tiny_base import make_base
from tests.unit.test_adapters import KINDS, spec

PROMPTS = ("The house", "Le", "Was ist")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"), ["The house is small and the garden is green."] * 20)


@pytest.fixture(scope="module")
def model(base: Path) -> nn.Module:
    return load_model(base)


def write(model: nn.Module, base: Path, round_: int = 1, **changes: Any) -> dict[str, str]:
    drawing = Drawing(**{"tokens": 12, "seconds": 60.0, **changes})
    return Writing("a-run", PROMPTS, drawing).texts(model, load_tokenizer(base), round_)


def test_two_members_write_the_same_and_the_next_round_another(model: nn.Module, base: Path) -> None:
    found = write(model, base)
    assert list(found) == list(PROMPTS)
    assert write(load_model(base), base) == found
    assert write(model, base, round_=2) != found
    assert model.training


def test_the_seed_follows_from_run_round_and_prompt() -> None:
    names = [("a", 1, "x"), ("b", 1, "x"), ("a", 2, "x"), ("a", 1, "y"), ("a", 12, "x")]
    assert len({seed_of(*name) for name in names}) == len(names)


def test_texts_end_when_their_time_is_over(model: nn.Module, base: Path) -> None:
    write(model, base)  # the first takes longer: libraries are loaded
    started = time.monotonic()
    found = write(model, base, tokens=100_000, seconds=0.6)
    assert time.monotonic() - started < 5.0
    assert found
    assert list(found) == list(PROMPTS[: len(found)])  # for the others no time was left
    assert all(fits(text, TEXT_BYTES) for text in found.values())
    assert write(model, base, seconds=0.0) == {}


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_adapters_write_too(base: Path, method: str, kind: str) -> None:
    run = spec(base, method, kind)
    adapted = trained_model(run, base, place(run, "cpu", Hardware()))
    for name, value in initial(blank_adapted(run, base), 0).items():
        trainable(adapted)[name].data.copy_(value)
    assert list(write(adapted, base, temperature=0.0)) == list(PROMPTS)


def test_a_model_that_cannot_write_is_measured_all_the_same(model: nn.Module, base: Path, tmp_path: Path) -> None:
    heldout, said = tmp_path / "heldout.safetensors", list[str]()
    heldout.write_bytes(save({"tokens": torch.randint(0, 512, (4, 9)).int()}))
    writing, placement = Writing("a-run", PROMPTS, Drawing(3, seconds=60.0)), place(spec(base), "cpu", Hardware())
    found = [
        Measuring(model, placement, folder, (), heldout, said.append, writing).measure(4, 1)
        for folder in (base, tmp_path)  # which holds no tokenizer
    ]
    assert [list(measured.texts) for measured in found] == [list(PROMPTS), []]
    assert found[0].heldout_loss == found[1].heldout_loss
    assert [sentence.partition(": ")[0] for sentence in said] == ["the model could write no text here"]


def test_a_run_without_prompts_writes_nothing(base: Path) -> None:
    assert Writing.of(spec(base)).prompts == ()
