"""Combining the peers' updates into one, the same bits on every machine. Pure.

Sums are in float64 and in the order that all peers share. The rule, with R peers and w_i a peer's weight (the sum of
all is 1): g_j = R · Σ w_i Δ_ij / max(n_j, ⌈R/4⌉), where n_j peers sent a value for j. For dense updates that is the
weighted mean (McMahan et al. 2017, arXiv 1602.05629, section 3); of sparse ones few peers choose the same value, and a
mean over those who did not would shrink it.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from peer.codecs import Floats

_GRID = 1 << 20  # scales are rounded to this part: the last bits of a norm differ between machines


def weights(samples: Sequence[int], shares: Sequence[float] = ()) -> list[float]:
    """Each peer's part in the sum: its samples, but at most twice the median, so that none has the run alone, times
    its share (all above 0; 1 without them).
    """
    limit = 2 * median(samples)
    heavy = [min(count, limit) * share for count, share in zip(samples, shares or [1.0] * len(samples), strict=True)]
    return [weight / sum(heavy) for weight in heavy]


def combined(updates: Sequence[Floats], parts: Sequence[float], clip: float, sparse: bool) -> NDArray[np.float64]:
    """One tensor's combined update, from the peers' in the order of the round's manifest; `parts` are their weights.

    An update whose norm is more than `clip` times the peers' median is scaled down to that; 0 scales nothing.
    """
    total = np.zeros(updates[0].shape)
    for update, part, scale in zip(updates, parts, _scales(updates, clip), strict=True):
        total += update.astype(np.float64) * (part * scale)
    if not sparse or len(updates) == 1:
        return total
    sent = np.sum([update != 0 for update in updates], axis=0)
    spread: NDArray[np.float64] = total * len(updates) / np.maximum(sent, -(-len(updates) // 4))
    return spread


def _scales(updates: Sequence[Floats], clip: float) -> list[float]:
    """What each update is multiplied by before the sum."""
    if not clip or len(updates) == 1:
        return [1.0] * len(updates)
    norms = [float(np.sqrt(np.square(update.astype(np.float64)).sum())) for update in updates]
    limit = clip * median(norms)
    return [round(limit / norm * _GRID) / _GRID if norm > limit else 1.0 for norm in norms]
