"""A model as a folder, as `swarm export` and a bundle hold it: opened for looking at what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from peer.model import built, load_tokenizer, load_weights
from peer.serving.plain import require_plain_adapter
from swarm.errors import ModelError

_ADAPTER = "adapter_config.json"


def opened(folder: Path, base: Path | None, device: torch.device) -> tuple[nn.Module, Any]:
    """The model of the folder in fp32 on the device, and its tokenizer; `base` has the base's weights when the folder
    holds an adapter. Never code. Raises ModelError, CorruptError.
    """
    adapts = (folder / _ADAPTER).is_file()
    if adapts and base is None:
        raise ModelError(
            f"{folder} holds an adapter, and not the base that it belongs to.",
            "Name the base's folder with --base, or export the model with --merged.",
        )
    model = _loaded(base if adapts and base else folder)
    if adapts:
        _require_safetensors(folder)
        require_plain_adapter(folder)
        from peft import PeftModel

        model = built(folder, lambda: PeftModel.from_pretrained(model, folder, local_files_only=True))
    return model.to(device).eval(), load_tokenizer(folder)


def _require_safetensors(folder: Path) -> None:
    """Raises ModelError: where there are none, peft would take a pickle."""
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(f"{folder} holds no adapter_model.safetensors.", "Name a folder made by `swarm export`.")


def _loaded(folder: Path) -> Any:
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder} holds no weights in safetensors files.", "Name a folder made by `swarm export`.")
    return load_weights(folder, torch.float32)
