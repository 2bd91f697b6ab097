"""The model that a peer trains: everything of it (full), or adapters on a frozen base (lora, qlora)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from peer.adapters import adapt, initial, quantization
from peer.device import Placement
from peer.dropout import draw_alike
from peer.model import base_folder, built, initial_model, load_model, load_tokenizer, require_room, trainable
from swarm.runspec import RunSpec


def trained_model(spec: RunSpec, folder: Path, placement: Placement) -> nn.Module:
    """The model of the run on its device, in training mode; what is trained is fp32 and comes from a state file.

    `folder` holds the configuration and, for adapters, the base's weights. Raises ModelError.
    """
    if spec.model.adapts:
        model = adapt(_frozen(spec, folder, placement), spec)
    else:
        model = load_model(folder, placement.attention)
    draw_alike(model, spec.run.seed)
    if spec.training.gradient_checkpointing:
        _recompute(model)
    return model.to(placement.device) if spec.model.method != "qlora" else model


def untrained(spec: RunSpec, tokenizer: Path, base: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model as it is configured, and what is trained of it at its values in round 0, by name, on the CPU.

    Folders in the spec are relative to `base`; `tokenizer` is the run's. Raises ModelError.
    """
    if spec.model.adapts:
        model = blank_adapted(spec, base_folder(spec, base))
        require_room(spec, model, len(load_tokenizer(tokenizer)))
        return model, initial(model, spec.run.seed)
    model = initial_model(spec, tokenizer, base)
    return model, {name: parameter.detach() for name, parameter in trainable(model).items()}


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
    network.activation_checkpointing_enable({"use_reentrant": False})
    network.enable_input_require_grads()


def blank_adapted(spec: RunSpec, folder: Path) -> nn.Module:
    """The base and its adapters without values and without memory for them (on torch's meta device).

    Raises ModelError.
    """
    with torch.device("meta"):
        config = built(folder, lambda: AutoConfig.from_pretrained(folder, trust_remote_code=False))
        model = built(folder, lambda: AutoModelForCausalLM.from_config(config, trust_remote_code=False))
        return adapt(model, spec)
