"""Adapters of strangers: only weights, and nothing by which a library would do more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peer.serving.plain import end_tokens, require_plain_adapter
from swarm.errors import CorruptError, ModelError

PLAIN = {"peft_type": "LORA", "init_lora_weights": True, "megatron_config": None, "megatron_core": "megatron.core"}


def adapter(folder: Path, **changes: object) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps({**PLAIN, **changes}))
    return folder


def test_a_plain_one(tmp_path: Path) -> None:
    require_plain_adapter(adapter(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"megatron_config": {"x": 1}, "megatron_core": "antigravity"},  # imports the module of that name
        {"init_lora_weights": "corda", "corda_config": {"cache_file": "/tmp/x"}},  # reads a file by torch.load
        {"init_lora_weights": "pissa"},  # changes the base
        {"peft_type": "XLORA"},
        {"peft_type": None},
    ],
)
def test_others(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(CorruptError, match="no plain LoRA"):
        require_plain_adapter(adapter(tmp_path, **changes))


def test_settings_that_are_none(tmp_path: Path) -> None:
    for text in ("[]", "{", "[" * 100_000):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ModelError, match=r"config\.json"):
            end_tokens(tmp_path)
    (tmp_path / "config.json").write_text('{"eos_token_id": 3}')
    assert end_tokens(tmp_path) == [3]
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 2, null]}')
    assert end_tokens(tmp_path) == [1, 2]
