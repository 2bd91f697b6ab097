"""Whether something grows with the rounds that a process does: what is sampled, and the pure decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import psutil

_ROUNDS = 1000.0  # slopes are said per so many rounds


@dataclass(frozen=True)
class Sample:
    """What a process held after `round` rounds, by the measure's name."""

    round: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Tolerance:
    """What still counts as noise: a slope per 1,000 rounds, or a rise of less than `rise` within the second half."""

    slope: float
    rise: float


MEMORY = Tolerance(0.5, 8.0)  # MB; allocators and garbage collectors take memory in steps
COUNT = Tolerance(1.0, 4.0)  # descriptors, threads, records, entries
TASKS = Tolerance(1.0, 30.0)  # they come and go in bursts
OBJECTS = Tolerance(1000.0, 2000.0)  # that Python's garbage collector knows

# What is kept on purpose, up to a number that short runs do not reach; p2pd's garbage collector begins late.
BOUNDS: Mapping[str, float] = {"closed leases": 4096, "votes": 65, "outcomes": 16, "all-reduces": 1, "p2pd MB": 100}


def growth(samples: Sequence[Sample], bounds: Mapping[str, float] = BOUNDS) -> list[str]:
    """A sentence for each measure that grows, none when nothing does.

    A measure grows when its slope over the second half of the samples (Theil and Sen's: the median of the slopes of
    all pairs) is above the tolerance, also in both quarters for themselves, so that one step is no growth, and so is
    its rise; not while it is within a bound that is meant.
    """
    half = samples[len(samples) // 2 :]
    names = half[0].values if half else {}
    return [sentence for name in names if (sentence := _grows(name, half, bounds.get(name, 0.0)))]


def slope(samples: Sequence[Sample], name: str) -> float:
    """Of one measure, per 1,000 rounds."""
    pairs = [(a, b) for a, b in combinations(samples, 2) if a.round != b.round]
    steps = [(b.values[name] - a.values[name]) / (b.round - a.round) for a, b in pairs]
    return median(steps) * _ROUNDS if steps else 0.0


def _grows(name: str, samples: Sequence[Sample], bound: float) -> str:
    found, tolerated, middle = slope(samples, name), tolerance(name), len(samples) // 2
    steady = min(found, slope(samples[:middle], name), slope(samples[middle:], name))
    rise = found / _ROUNDS * (samples[-1].round - samples[0].round)
    if steady <= tolerated.slope or rise <= tolerated.rise or samples[-1].values[name] <= bound:
        return ""
    return f"{name} grows by {found:.3g} in 1,000 rounds; {tolerated.slope:g} would be noise"


def tolerance(name: str) -> Tolerance:
    """By the measure's name."""
    if name.endswith("MB"):
        return MEMORY
    if name.endswith("tasks"):
        return TASKS
    return OBJECTS if name == "objects" else COUNT


def of_process(name: str, process: psutil.Process) -> dict[str, float]:
    """What the system knows of a process."""
    with process.oneshot():
        return {
            f"{name} MB": process.memory_full_info().uss / 1e6,
            f"{name} descriptors": process.num_fds(),
            f"{name} threads": process.num_threads(),
        }
