"""Sums and norms that are the same bits on every machine. Pure.

NumPy's own sums add in an order that depends on the processor's vector width; adding element by element does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
_BITS = 25  # of the norm of a row of whole numbers


def row_sums(rows: Rows) -> Rows:
    """The sum [n] of each row of `rows` [n, d]."""
    return _folded(rows.copy())


def _folded(rows: Rows) -> Rows:
    """Of each row the halves are added to each other until one value is left, in the rows' own memory."""
    while (width := rows.shape[1]) > 1:
        half = (width + 1) // 2
        rows[:, : width - half] += rows[:, half:]
        rows = rows[:, :half]
    return rows[:, 0] if rows.shape[1] else np.zeros(len(rows))


def row_norms(rows: Rows, scratch: Rows | None = None) -> Rows:
    """The L2 norm [n] of each row; `scratch` [n, d] is memory to work in."""
    norms: Rows = np.sqrt(_folded(np.multiply(rows, rows, out=scratch)))
    return norms


def products(rows: Rows) -> Rows:
    """The inner products [n, n] of `rows` [n, d], which are finite, to about a millionth of their norms.

    Each row is brought to whole numbers, its norm below 2^26. By Cauchy and Schwarz no sum of some of their products
    reaches 2^52 then, so all are exact, and it does not matter in which order a library adds them.
    """
    bits = _BITS - rows.shape[1].bit_length() // 2  # of a value: the norm of d of them is less than √d times as much
    _, exponents = np.frexp(np.maximum(rows.max(axis=1, initial=0.0), -rows.min(axis=1, initial=0.0)))
    whole = rows * np.ldexp(1.0, bits - exponents)[:, None]
    np.rint(whole, out=whole)
    exact: Rows = np.ldexp(whole @ whole.T, exponents[:, None] + exponents - 2 * bits)
    return exact
