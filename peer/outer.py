"""The outer optimizer of local mode: θ_(r+1) = θ_r − α · d; d is the combined update, or follows it with momentum.

Reddi et al. 2021, "Adaptive Federated Optimization" (arXiv 2003.00295), and Nesterov's momentum as in DiLoCo (Douillard
et al. 2023, arXiv 2311.08105). Computed by NumPy in float64, one operation at a time and rounded once: every machine
gets the same bits.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from peer.checkpoint import fitting
from peer.codecs import Floats, Shapes
from swarm.sections import Local

_MOMENTUM = "outer/momentum/"


class Outer:
    """SGD on the agreed θ, with Nesterov's momentum when the run wants it."""

    def __init__(self, settings: Local, shapes: Shapes) -> None:
        self._settings = settings
        wanted = shapes if settings.outer_momentum else {}
        self._momentum = {name: np.zeros(shape, np.float32) for name, shape in wanted.items()}

    def step(self, name: str, theta: NDArray[np.float32], update: Floats) -> NDArray[np.float32]:
        """θ after this update, fp32."""
        rate, beta = self._settings.outer_learning_rate, self._settings.outer_momentum
        direction = update.astype(np.float64)
        if beta:
            velocity = self._momentum[name].astype(np.float64) * beta + direction
            self._momentum[name] = velocity.astype(np.float32)
            direction = direction + velocity * beta
        stepped: NDArray[np.float32] = (theta.astype(np.float64) - direction * rate).astype(np.float32)
        return stepped

    def state(self) -> dict[str, Tensor]:
        """The momentum by its names in a state file; views, not copies."""
        return {f"{_MOMENTUM}{name}": torch.from_numpy(values) for name, values in self._momentum.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take the momentum from a state. Raises CorruptError when it does not fit."""
        for name, like in self.state().items():
            self._momentum[name.removeprefix(_MOMENTUM)] = fitting(tensors, name, like).numpy().copy()
