"""Dropout that everybody draws alike, so that a checker can do another member's round again.

What is dropped follows from the run's seed, the layer, and the sample itself: its tokens and the place in it. So it
depends neither on the device's random numbers nor on how many samples are computed at once, or on which. A sample that
comes a second time, in another epoch, drops the same. Bits are mixed by Wellons' lowbias32 ("Prospecting
for Hash Functions", nullprogram.com, 2018) in 32-bit integers, which wrap alike everywhere.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from swarm.errors import ModelError

_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B - (1 << 32)
_PLACES = 0x9E3779B9 - (1 << 32)  # an odd number: multiples of it are all different


class Drawn:
    """The samples that the model computes now: a number [samples] for each, int32."""

    def __init__(self) -> None:
        self.samples = torch.zeros(0, dtype=torch.int32)

    def look(self, tokens: Tensor) -> None:
        """Before the model's forward pass, at `tokens` [samples, length]."""
        mixed = _mixed(tokens.to(torch.int32) + _places(tokens.shape[1], tokens.device))
        self.samples = (mixed.sum(dim=1) & 0x7FFFFFFF).to(torch.int32)


class SampleDropout(nn.Module):
    """In place of torch.nn.Dropout; `part` of the values are dropped while training."""

    p = 0.0  # what attention reads that drops by itself, and with the device's random numbers

    def __init__(self, part: float, layer: int, drawn: Drawn) -> None:
        super().__init__()
        self._part = part
        self._layer = layer
        self._drawn = drawn

    def forward(self, values: Tensor) -> Tensor:
        """`values` [samples, …, width], or [samples · …, width]. Raises ModelError for others."""
        if not self.training:
            return values
        samples, width = self._drawn.samples, values.shape[-1]
        each = values.numel() // (max(len(samples), 1) * width)
        if each * len(samples) * width != values.numel():
            raise ModelError(
                f"A layer of this model mixes samples (it sees {tuple(values.shape)}), so nobody could drop the same.",
                "Set lora.dropout = 0, or leave out layers of experts in lora.targets.",
            )
        kept = _kept(samples, self._layer, self._part, each, width)
        enlarged: Tensor = values * kept.reshape(values.shape) / (1 - self._part)
        return enlarged


# An operator of its own: torch.compile would take minutes over these many small operations on integers.
@torch.library.custom_op("garage_swarm::kept", mutates_args=())
def _kept(samples: Tensor, layer: int, part: float, each: int, width: int) -> Tensor:
    """What is not dropped of `each` rows of every sample, [samples · each, width]."""
    rows = _mixed(samples[:, None] + _places(each, samples.device)).reshape(-1, 1)
    columns = _mixed(layer + _places(width, samples.device))
    return _mixed(rows ^ columns) >= round(part * (1 << 32)) - (1 << 31)


@_kept.register_fake
def _(samples: Tensor, layer: int, part: float, each: int, width: int) -> Tensor:  # noqa: ARG001 - as the operator's
    return samples.new_empty((len(samples) * each, width), dtype=torch.bool)


def draw_alike(model: nn.Module, seed: int) -> None:
    """Let every dropout of the model be a `SampleDropout`; what attention drops by itself is off."""
    drawn = Drawn()
    parts = {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout) and module.p}
    for name, part in parts.items():
        model.set_submodule(name, SampleDropout(part, _number(seed, name), drawn))
    for module in model.modules():
        for name in [name for name, value in vars(module).items() if "drop" in name and isinstance(value, float)]:
            setattr(module, name, 0.0)

    def look(model: nn.Module, _: object, given: dict[str, Any]) -> None:
        if model.training:
            drawn.look(given["input_ids"])

    if parts:
        model.register_forward_pre_hook(look, with_kwargs=True)


def _number(seed: int, layer: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {layer}".encode()).digest()[:4], "little", signed=True)


def _places(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, dtype=torch.int32, device=device) * _PLACES


def _mixed(values: Tensor) -> Tensor:
    """Each bit of an int32 depends on all of them."""
    values = (values ^ _shifted(values, 16)) * _FIRST
    values = (values ^ _shifted(values, 15)) * _SECOND
    return values ^ _shifted(values, 16)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """To the right, zeros coming in."""
    return (values >> bits) & ((1 << 32 - bits) - 1)
