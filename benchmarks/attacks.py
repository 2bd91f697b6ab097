"""What an attacker of `bench_attacks.py` sends instead of its update. Vectors are float64 [parameters].

All attackers know what everybody else sends in this round, which is more than real ones can: payloads are named by
their hashes before anybody sees another's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """One round as an attacker sees it: its own honest update, those of the honest peers, and its own of the past."""

    own: Vector
    honest: Sequence[Vector]
    past: Sequence[Vector]
    peers: int
    place: int  # among the attackers

    def disguised(self, vector: Vector) -> Vector:
        """What all attackers send, a little different from each, so that it does not pass for copies."""
        return vector * (1 + 0.001 * self.place)

    @property
    def mean(self) -> Vector:
        return np.mean(self.honest, axis=0)

    @property
    def size(self) -> float:
        """The honest updates' median norm."""
        return float(np.median([np.linalg.norm(one) for one in self.honest]))


@dataclass(frozen=True)
class Attack:
    """`send` makes the vector; `samples` is by how much an attacker's count is multiplied, `flips` whether it learns
    from wrong labels, `absent` whether it sends nothing; `modes` in which it is anything.
    """

    send: Callable[[Scene], Vector]
    samples: float = 1.0
    flips: bool = False
    absent: bool = False
    modes: tuple[str, ...] = ("gradient", "local")


def _draw(scene: Scene) -> np.random.Generator:
    """Other numbers for every attacker and round."""
    return np.random.default_rng(np.frombuffer(scene.own[:64].tobytes(), np.uint32))


def _noise(scene: Scene) -> Vector:
    drawn = _draw(scene).standard_normal(scene.own.shape)
    return drawn * (1000 * scene.size / np.sqrt(len(drawn)))


def _constant(scene: Scene) -> Vector:
    """The same random direction from all attackers and in all rounds, as long as updates may be."""
    direction = np.random.default_rng(7).standard_normal(scene.own.shape)
    return scene.disguised(direction * (2.9 * scene.size / np.linalg.norm(direction)))


def _little_is_enough(scene: Scene) -> Vector:
    """Baruch, Baruch and Goldberg 2019 (arXiv 1902.06156): as far from the mean as honest updates stray, all the same
    way.
    """
    attackers = scene.peers - len(scene.honest)
    majority = scene.peers // 2 + 1 - attackers
    far = NormalDist().inv_cdf((len(scene.honest) - majority) / len(scene.honest))
    return scene.disguised(scene.mean - max(far, 0.3) * np.std(scene.honest, axis=0))


def _delayed(scene: Scene) -> Vector:
    return scene.past[max(0, len(scene.past) - 10)]


def _own_indices(scene: Scene) -> Vector:
    """Large values where nobody else has any."""
    vector = np.zeros_like(scene.own)
    quiet = np.argsort(np.abs(scene.mean))[: len(vector) // 50]
    signs = np.where(_draw(scene).random(len(quiet)) < 0.5, -1.0, 1.0)
    vector[quiet] = signs * scene.size / np.sqrt(len(quiet))
    return vector


def _broken(value: float) -> Callable[[Scene], Vector]:
    def send(scene: Scene) -> Vector:
        vector = scene.own.copy()
        vector[:: len(vector) // 7] = value
        return vector

    return send


ATTACKS: dict[str, Attack] = {
    "absent": Attack(lambda scene: scene.own, absent=True),  # the best that a rule can make of any attack
    "sign flip": Attack(lambda scene: -scene.own),
    "noise × 1000": Attack(_noise),
    "constant direction": Attack(_constant),
    "label flip": Attack(lambda scene: scene.own, flips=True),
    "delayed update": Attack(_delayed),
    "IPM": Attack(lambda scene: scene.disguised(-0.5 * scene.mean)),  # Xie, Koyejo and Gupta 2019 (arXiv 1903.03936)
    "IPM, large": Attack(lambda scene: scene.disguised(-2.5 * scene.mean)),
    "ALIE": Attack(_little_is_enough),
    "own-index grab": Attack(_own_indices, modes=("local",)),
    "zeros": Attack(lambda scene: np.zeros_like(scene.own)),
    "copies": Attack(lambda scene: scene.honest[0]),
    "fewer steps": Attack(lambda scene: scene.own / 8),
    "NaN": Attack(_broken(np.nan)),
    "inf": Attack(_broken(np.inf)),
    "weight 1e9": Attack(lambda scene: -scene.own, samples=1e9),
}
