"""Whether the factors of adapters train in turns: agreed by all peers, and for good once it begins.

It is part of the state. So a peer that joins later does as the others do, and one that decided otherwise, because the
last bits of a norm differ between machines, has another digest and takes the majority's state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from peer.checkpoint import fitting
from peer.codecs import Floats
from peer.factors import moved, pairs, resting
from swarm import log

logger = log.get(__name__)

_NAME = "outer/alternating"
_MOST = 0.02  # part of the adapters' step that averaging may lose


class Alternation:
    """Of the adapters among tensors of these names; without adapters it never begins and has no state."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)
        self._on = np.zeros(1, np.float32)

    def resting(self, round_: int) -> frozenset[str]:
        """The names that do not train in this round."""
        return resting(self._names, round_) if self._on[0] else frozenset()

    def look(self, theta: Mapping[str, Floats], update: Mapping[str, Floats], lost: float) -> None:
        """Begin when a round's combined update lost too much; `lost` is `peer.factors.lost` of the peers' updates."""
        step = moved(theta, update)
        ratio = math.sqrt(lost / step) if step else 0.0
        if pairs(self._names):
            logger.info("averaging A and B apart lost %.2f %% of the adapters' step", 100 * ratio)
        if ratio > _MOST and not self._on[0]:
            logger.info("that is more than %g %%: from now on A and B train in turns", 100 * _MOST)
            self._on = np.ones(1, np.float32)

    def state(self) -> dict[str, Tensor]:
        """By its name in a state file; a view, not a copy."""
        return {_NAME: torch.from_numpy(self._on)} if pairs(self._names) else {}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take it from a state. Raises CorruptError when it is not there."""
        for name, like in self.state().items():
            self._on = fitting(tensors, name, like).numpy().copy()
