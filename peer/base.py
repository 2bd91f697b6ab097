"""The model that a peer trains: everything of it (full), or adapters on a frozen base (lora, qlora)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from peer.adapters import adapt, quantization
from peer.device import Placement
from peer.model import built, load_model
from swarm.runspec import RunSpec


def trained_model(spec: RunSpec, folder: Path, placement: Placement) -> nn.Module:
    """The model of the run on its device, in training mode; what is trained is fp32 and comes from a state file.

    `folder` holds the configuration and, for adapters, the base's weights. Raises ModelError.
    """
    if spec.model.adapts:
        model = adapt(_frozen(spec, folder, placement), spec)
    else:
        model = load_model(folder, placement.attention)
    if spec.training.gradient_checkpointing:
        _recompute(model)
    return model.to(placement.device) if spec.model.method != "qlora" else model


def _frozen(spec: RunSpec, folder: Path, placement: Placement) -> nn.Module:
    """The base, quantised while it loads for qlora, else in the type that is computed in."""
    config = quantization(spec, placement.compute)
    where: dict[str, Any] = {"device_map": {"": placement.device}, "quantization_config": config} if config else {}
    model: nn.Module = built(
        folder,
        lambda: AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=placement.compute,
            attn_implementation=placement.attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **where,
        ),
    )
    return model.requires_grad_(False)


def _recompute(model: nn.Module) -> None:
    """Recompute activations in the backward pass; without this hook nothing flows back to adapters."""
    network: Any = model
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    network.enable_input_require_grads()


def blank_adapted(spec: RunSpec, folder: Path) -> nn.Module:
    """The base and its adapters without values and without memory for them (on torch's meta device).

    Raises ModelError.
    """
    with torch.device("meta"):
        config = built(folder, lambda: AutoConfig.from_pretrained(folder, trust_remote_code=False))
        model = built(folder, lambda: AutoModelForCausalLM.from_config(config, trust_remote_code=False))
        return adapt(model, spec)
