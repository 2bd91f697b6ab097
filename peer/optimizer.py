"""AdamW whose arithmetic is the same on every machine and device, so that equal states stay equal bit by bit.

Method: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (arXiv 1711.05101), as in torch.optim.AdamW. Each
step is a chain of separate IEEE 754 additions, subtractions, multiplications, divisions and square roots in fp32,
which all devices round alike. Kernels that may contract a multiplication and an addition into one rounding (addcmul,
addcdiv, lerp, add with alpha, the fused and foreach variants) are left out; so is division by a number, which CUDA
turns into a multiplication by its rounded reciprocal, and torch's square root on CPUs, which is off in the last bit of
every fifth value (Intel's vector mathematics).
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import torch
from torch import Tensor, nn

from peer.checkpoint import fitting
from swarm.sections import Training


class AdamW:
    """Steps `parameters` (fp32) in place. Weight decay is applied to those with two or more dimensions only:
    matrices, never biases or norms."""

    def __init__(self, parameters: dict[str, nn.Parameter], settings: Training) -> None:
        self._parameters = parameters
        self._settings = settings
        self._exp_avg = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
        self._exp_avg_sq = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, gradients: dict[str, Tensor], step: int, learning_rate: float, scale: float = 1.0) -> None:
        """Step number `step` (the first is 1) by `gradients` (on any device) times `scale`; those without one stay."""
        rate = learning_rate / _bias_correction(self._settings.beta1, step)
        spread = 1.0 / math.sqrt(_bias_correction(self._settings.beta2, step))
        decay = 1.0 - learning_rate * self._settings.weight_decay
        for name, raw in gradients.items():
            parameter = self._parameters[name]
            gradient = raw.to(parameter.device, torch.float32).mul(scale)
            if parameter.ndim >= 2:
                parameter.mul_(decay)
            parameter.sub_(self._direction(name, gradient, spread).mul_(rate))

    def state(self) -> dict[str, Tensor]:
        """The moments by their names in a state file; views, not copies."""
        return {
            **{f"optimizer/exp_avg/{name}": moment for name, moment in self._exp_avg.items()},
            **{f"optimizer/exp_avg_sq/{name}": moment for name, moment in self._exp_avg_sq.items()},
        }

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Copy the moments from `state`, which may hold other tensors too.

        Raises CorruptError when one is missing or has another shape.
        """
        own = self.state()
        found = {name: fitting(state, name, moment) for name, moment in own.items()}
        for name, moment in own.items():
            moment.copy_(found[name])

    def _direction(self, name: str, gradient: Tensor, spread: float) -> Tensor:
        """Update both moments by `gradient`; the step's direction before the rate."""
        settings = self._settings
        first = self._exp_avg[name].mul_(settings.beta1).add_(gradient.mul(1.0 - settings.beta1))
        square = gradient.mul_(gradient).mul_(1.0 - settings.beta2)
        second = self._exp_avg_sq[name].mul_(settings.beta2).add_(square)
        if first.device.type == "cuda":
            return first.div(second.sqrt().mul_(spread).add_(settings.eps))
        # On the host also where nothing is known of how a GPU rounds (MPS).
        return first.cpu().div(_root(second.cpu()).mul_(spread).add_(settings.eps)).to(first.device)


def _root(values: Tensor) -> Tensor:
    """Square roots as the processor rounds them: by the standard."""
    return torch.from_numpy(np.sqrt(values.numpy(), out=np.empty(values.shape, np.float32)))


def _bias_correction(beta: float, step: int) -> float:
    """1 - beta ** step; in decimals, because the last bit of libm's pow differs between platforms."""
    return 1.0 - float(Decimal(beta) ** step)
