"""Gradient mode's mean of many that a few cannot move far: centered clipping, the same bits on every machine. Pure.

Karimireddy, He and Jaggi 2021, "Learning from History for Byzantine Robust Optimization" (arXiv 2012.10333), with the
start and the radius of one round alone, because whoever joins late knows no history: from the coordinates' median, each
step goes to v + Σ w_i (x_i − v) · min(1, τ / |x_i − v|), where τ is the median of the distances |x_i − v|. Applied part
by part of the vector, as in Gorbunov et al. 2021, "Secure Distributed Training at Scale" (arXiv 2106.11257). Before
that, who points away from the others is left out, and who hardly agrees with them weighs less (`peer.agreement`).

Of one or two peers it is the weighted mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from peer.agreement import FEWEST, among
from peer.combine import weights
from peer.exact import Rows, products, row_norms
from peer.screening import by_norm

_STEPS = 3  # of clipping; after the first the start hardly shows any more


def robust_mean(
    rows: Rows, samples: Sequence[int], shares: Sequence[float] = ()
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """The peers' values [n, d] of one part become one [d]; and who was refused, why. Zeros when nobody is left. Each
    sample weighs its peer's share, 0 to 1; who has none is looked at and left out.
    """
    shares = shares or [1.0] * len(rows)
    weighing = [share > 0 for share in shares]
    refused = by_norm(row_norms(rows).tolist(), noisy=samples, weighing=weighing)
    left = [peer for peer in range(len(rows)) if peer not in refused]
    trusted, against = among(left, products(_of(rows, left)), rows.shape[1], weighing)
    refused |= against
    heavy = {peer: shares[peer] * weight for peer, weight in trusted.items() if weight}
    if not heavy:
        return np.zeros(rows.shape[1], np.float32), refused
    parts = weights([samples[peer] for peer in heavy], list(heavy.values()))
    return centered_clip(_of(rows, list(heavy)), parts).astype(np.float32), refused


def _of(rows: Rows, peers: Sequence[int]) -> Rows:
    """Without a copy where it is all of them: new memory costs more than arithmetic."""
    return rows[peers] if len(peers) < len(rows) else rows


def centered_clip(rows: Rows, shares: Sequence[float]) -> Rows:
    """The clipped mean [d] of `rows` [n, d], which are values of fp32; `shares` [n], their weights, sum to 1."""
    if len(rows) < FEWEST:
        return sum((row * share for row, share in zip(rows, shares, strict=True)), np.zeros(rows.shape[1]))
    center = _coordinate_median(rows)
    away, squares, part = np.empty_like(rows), np.empty_like(rows), np.empty_like(center)  # taken once
    for _ in range(_STEPS):
        np.subtract(rows, center, out=away)
        distances = row_norms(away, squares).tolist()
        radius = median(distances)
        for row, distance, share in zip(away, distances, shares, strict=True):
            scale = radius / distance if distance > radius else 1.0
            center += np.multiply(row, share * scale, out=part)
    return center


def _coordinate_median(rows: Rows) -> Rows:
    """Sorted by exchanging neighbours, which for a few rows is faster than a sort of each column."""
    ordered = list(rows.astype(np.float32))
    for turn in range(len(ordered)):
        for low in range(turn % 2, len(ordered) - 1, 2):
            one, other = ordered[low], ordered[low + 1]
            ordered[low], ordered[low + 1] = np.minimum(one, other), np.maximum(one, other)
    half = len(ordered) // 2
    upper: Rows = ordered[half].astype(np.float64)
    return upper if len(ordered) % 2 else (ordered[half - 1] + upper) / 2
