"""What averaging loses of adapters: an adapter is a product B·A, and its factors are averaged apart. Pure.

Peer i moves A by δA_i and B by δB_i. The mean of the peers' products differs from the product of the means by
mean(δB_i δA_i) − mean(δB_i) mean(δA_i). Nothing is lost when only A, or only B, moves in a round: Chen et al. 2025,
"Robust Federated Finetuning of LLMs via Alternating Optimization of LoRA" (arXiv 2502.01755).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from peer.codecs import Floats

_A, _B = ".lora_A.", ".lora_B."  # as PEFT names A [rank, inputs] and B [outputs, rank]


def pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """The names of A and B of every adapter, sorted."""
    known = set(names)
    found = ((name, name.replace(_A, _B)) for name in sorted(known) if _A in name)
    return [(first, second) for first, second in found if second in known]


def resting(names: Iterable[str], round_: int) -> frozenset[str]:
    """What does not train in a round when the factors take turns: A in even rounds, B in odd ones."""
    return frozenset(pair[round_ % 2] for pair in pairs(names))


def lost(updates: Sequence[Mapping[str, Floats]], parts: Sequence[float]) -> float:
    """Squared norm, over all adapters, of what averaging loses; `parts` are the peers' weights."""
    return math.fsum(
        _lost(np.array([update[first] for update in updates]), np.array([update[second] for update in updates]), parts)
        for first, second in pairs(updates[0])
    )


def moved(theta: Mapping[str, Floats], update: Mapping[str, Floats]) -> float:
    """Squared norm, over all adapters, of (B − δB)(A − δA) − B·A: how far the products move by an update."""
    return math.fsum(_moved(theta[a], theta[b], update[a], update[b]) for a, b in pairs(theta))


def _lost(first: Floats, second: Floats, parts: Sequence[float]) -> float:
    """Of one adapter, with the peers' δA [peers, rank, inputs] and δB [peers, outputs, rank]: the norm of their
    covariance, Σ w_i (δB_i − mean δB)(δA_i − mean δA)."""
    weights = np.array(parts)[:, None, None]
    rows = first - (weights * first).sum(axis=0)
    columns = weights * (second - (weights * second).sum(axis=0))
    return _squared_norm(np.concatenate(list(columns), axis=1), np.concatenate(list(rows)))


def _moved(first: Floats, second: Floats, by_first: Floats, by_second: Floats) -> float:
    new_first, new_second = first.astype(np.float64) - by_first, second.astype(np.float64) - by_second
    return _squared_norm(np.hstack([new_second, second]), np.vstack([new_first, -first]))


def _squared_norm(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """‖left·right‖² (Frobenius), without making the product, which is as large as the adapted layer."""
    return max(0.0, float(((left.T @ left) * (right @ right.T)).sum()))
