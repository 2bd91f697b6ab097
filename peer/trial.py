"""How many samples a peer computes at once: tried on the real model before the first round."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

_SECONDS = 20.0
_WORTH = 1.05  # a larger micro-batch that is not faster by this only takes memory


@dataclass(frozen=True)
class Trial:
    """The result: samples at once, samples per second with it, and a sentence."""

    micro_batch: int
    rate: float
    why: str


def find_micro_batch(
    rehearse: Callable[[int], None], most: int, clock: Callable[[], float] = time.perf_counter
) -> Trial:
    """Try 1, 2, 4, … up to `most` samples, until those tries took about 20 seconds; the smallest of the fastest that
    fit is taken. Each size is computed once before, which does not count: that loads, tunes or compiles its kernels.

    `rehearse(n)` computes n samples. Raises MemoryError, as it does, when not even one sample fits.
    """
    took = _seconds(rehearse, 1, clock)
    rates = {1: 1 / took}
    for size in _sizes(most):
        if took > _SECONDS:
            return _chosen(rates, "there was no time to try more")
        try:
            seconds = _seconds(rehearse, size, clock)
        except MemoryError:
            return _chosen(rates, f"{size} do not fit into memory")
        rates[size] = size / seconds
        took += seconds
    return _chosen(rates, f"the run allows {most}")


def _sizes(most: int) -> list[int]:
    powers = [1 << power for power in range(1, most.bit_length()) if 1 << power < most]
    return [*powers, most] if most > 1 else []


def _chosen(rates: dict[int, float], why: str) -> Trial:
    size = min(size for size, rate in rates.items() if _WORTH * rate >= max(rates.values()))
    samples = f"{size} sample{'s' * (size != 1)}"
    return Trial(size, rates[size], f"{samples} at once, {rates[size]:.3g} samples per second ({why})")


def _seconds(rehearse: Callable[[int], None], size: int, clock: Callable[[], float]) -> float:
    rehearse(size)
    began = clock()
    rehearse(size)
    return max(clock() - began, 1e-9)
