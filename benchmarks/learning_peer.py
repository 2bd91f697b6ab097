"""A real peer of the exchange that learns, or attacks: `python -m benchmarks.learning_peer`.

Logistic regression on drawn data: what each peer learns from follows from its seed and the round, so that an attacker
knows what everybody sends. Settings beside those of `tests.exchange_peer`: `task` (local steps, learning rate), and for
attackers `attack` (see `benchmarks.attacks`), `honest` (the others' seeds) and `place` (among the attackers).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.attacks import ATTACKS, Scene, Vector
from tests.exchange_peer import Lender, Tensors, Walker, main, say

_BATCH = 512  # samples of a step
_HELD_OUT = 4096
_WRONG = 0.05  # part of the labels


class Learner(Walker):
    """θ is the regression's weights. Says the held-out loss, nats per sample, when it is at its last round."""

    def __init__(self, settings: dict[str, Any], lender: Lender) -> None:
        super().__init__(settings, lender)
        self.attack = ATTACKS.get(settings.get("attack", ""))
        self.past: list[Vector] = []

    def update(self) -> Tensors:
        own = self._learned(self.settings["seed"], flips=self.attack is not None and self.attack.flips)
        self.past = [*self.past[-10:], own]
        return self._tensors(own if self.attack is None else self.attack.send(self._scene(own)))

    def claimed(self, samples: int) -> int:
        return int(samples * self.attack.samples) if self.attack else samples

    def apply(self, mean: Tensors) -> None:
        rate = self.settings["task"]["rate"] if self.settings["task"]["steps"] == 1 else 1.0
        super().apply({name: -rate * tensor for name, tensor in mean.items()})
        self._say_learned()

    def load(self, path: Path, round_: int) -> None:
        """It may have come too late for the last round."""
        super().load(path, round_)
        self._say_learned()

    def _say_learned(self) -> None:
        if self.round == self.settings["rounds"]:
            say("learned", loss=self._loss())

    def _scene(self, own: Vector) -> Scene:
        seeds = self.settings["honest"]
        honest = [self._learned(seed) for seed in seeds]
        return Scene(own, honest, self.past, self.settings["peers"], self.settings["place"])

    def _learned(self, seed: int, flips: bool = False) -> Vector:
        """The mean gradient of a batch; with several steps, how far they lead away from θ."""
        steps, rate = self.settings["task"]["steps"], self.settings["task"]["rate"]
        begin = self._flat()
        weights = begin.copy()
        for step in range(steps):
            gradient = _gradient(weights, *_drawn((seed, self.round, step), len(weights), _BATCH), flips)
            if steps == 1:
                return gradient
            weights -= rate * gradient
        return begin - weights

    def _loss(self) -> float:
        inputs, labels = _drawn((1 << 20,), len(weights := self._flat()), _HELD_OUT)
        return float(np.mean(np.logaddexp(0, -labels * (inputs @ weights))))

    def _flat(self) -> Vector:
        return np.concatenate([self.state[name].reshape(-1).numpy() for name in sorted(self.state)]).astype(np.float64)

    def _tensors(self, vector: Vector) -> Tensors:
        sizes = [self.state[name].numel() for name in sorted(self.state)]
        parts = torch.from_numpy(vector.astype(np.float32)).split(sizes)
        return {
            name: part.reshape(self.state[name].shape) for name, part in zip(sorted(self.state), parts, strict=True)
        }


def _drawn(seed: tuple[int, ...], size: int, count: int) -> tuple[Vector, Vector]:
    """Inputs [count, size] and labels ±1 of the same hidden weights for every seed."""
    hidden = np.random.default_rng(1).standard_normal(size)
    rng = np.random.default_rng((2, *seed))
    inputs = rng.standard_normal((count, size))
    return inputs, np.sign(inputs @ hidden) * np.where(rng.random(count) < _WRONG, -1, 1)


def _gradient(weights: Vector, inputs: Vector, labels: Vector, flips: bool) -> Vector:
    labels = -labels if flips else labels
    pull: Vector = labels / (1 + np.exp(np.clip(labels * (inputs @ weights), -30, 30)))
    return -(pull @ inputs) / len(labels)


if __name__ == "__main__":
    np.seterr(all="ignore")  # attackers send what is not finite
    main(Learner)
