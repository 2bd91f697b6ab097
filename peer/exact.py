"""Sums and norms that are the same bits on every machine. Pure.

NumPy's own sums add in an order that depends on the processor's vector width; adding element by element does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


def row_sums(rows: Rows) -> Rows:
    """The sum [n] of each row of `rows` [n, d]: the halves are added to each other until one value is left."""
    while (width := rows.shape[1]) > 1:
        half = (width + 1) // 2
        folded = rows[:, :half].copy()
        folded[:, : width - half] += rows[:, half:]
        rows = folded
    return rows[:, 0] if rows.shape[1] else np.zeros(len(rows))


def row_norms(rows: Rows) -> Rows:
    """The L2 norm [n] of each row."""
    norms: Rows = np.sqrt(row_sums(rows * rows))
    return norms


def squares(values: NDArray[np.floating]) -> float:
    """The sum of squares of `values` [d]; infinite when it is too large."""
    wide = values.astype(np.float64)
    with np.errstate(over="ignore"):
        return float(row_sums((wide * wide)[None])[0])
