"""Adapters on a frozen base: lora, and qlora on a quantised one.

Methods: Hu et al. 2021, "LoRA" (arXiv 2106.09685); Dettmers et al. 2023, "QLoRA" (arXiv 2305.14314); Dettmers et al.
2022, "LLM.int8()" (arXiv 2208.07339). The base is quantised by each peer from the same pinned files.
"""

from __future__ import annotations

import logging
import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from swarm.errors import ModelError
from swarm.runspec import RunSpec


def quantization(spec: RunSpec, compute: torch.dtype) -> Any:
    """What transformers needs to quantise the base while it loads; None when the run does not."""
    if spec.model.method != "qlora":
        return None
    from transformers import BitsAndBytesConfig

    quieten()
    if spec.model.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def adapt(model: nn.Module, spec: RunSpec) -> nn.Module:
    """`model`, frozen, with the run's adapters in fp32; their values mean nothing yet, they come from a state file.

    Raises ModelError when the model has no such layers.
    """
    from peft import LoraConfig, get_peft_model

    lora = spec.lora
    targets: str | list[str] = lora.targets if lora.targets == "all-linear" else lora.targets.split(",")
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of transformers, about its own attribute
            adapted: nn.Module = get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"Adapters cannot be put on {spec.model.source}: {str(error).splitlines()[0]}",
            'Name linear layers of that model in lora.targets, or use "all-linear".',
        ) from error
    return adapted.train()


def initial(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """The adapters' values at round 0, fp32, by their names: the same on every machine, whatever device holds `model`.

    A is uniform in ±1/√fan_in, as torch initialises a linear layer and PEFT an adapter; B is zero, so that θ_0 is the
    base. Raises ModelError for adapters of another kind.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: p.shape for name, p in sorted(model.named_parameters()) if p.requires_grad}
    return {name: _initial(name, shape, generator) for name, shape in shapes.items()}


def _initial(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if ".lora_B." in name:
        return torch.zeros(shape)
    if ".lora_A." in name and len(shape) == 2:
        bound = 1 / math.sqrt(shape[1])
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)
    raise ModelError(f"The adapter {name} is not one of a linear layer.", "Name linear layers only in lora.targets.")


def quieten() -> None:
    """bitsandbytes says for every layer of every batch that it computes in half precision."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for module in (r"bitsandbytes.*", r"torch\.jit.*"):
        warnings.filterwarnings("ignore", module=module)
