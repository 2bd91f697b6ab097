"""Whether what this peer computes can be trusted, and what follows when it cannot. Pure: numbers and times come in.

A spike of the loss is judged by this peer's own last batches. A batch is high when its loss per sample lies above
median + max(10 · 1.4826 · MAD, median / 2) of them; MAD is the median absolute deviation from the median, and 1.4826 of
it is the standard deviation of normal noise (Hampel 1974, "The influence curve and its role in robust estimation",
Journal of the American Statistical Association 69). Three high ones in a row are a spike: one alone may be a hard
sample. A loss that falls, as in the beginning, lies below the median; with fewer than 16 batches nothing is judged.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from swarm.faults import Fault

WINDOW = 64  # batches that are remembered
ENOUGH = 16  # of them before any is judged
IN_A_ROW = 3  # high ones that make a spike
_SIGMAS = 10.0
_SIGMA = 1.4826  # of a MAD of one, for normal noise
_LEAST = 0.5  # of the median

MOST = 5  # quarantines
_WITHIN = 10  # rounds in which they must fall to be too many

_SHARE = 0.01  # of the time may go into looking whether the state in memory is still what it was


@dataclass(frozen=True)
class Finding:
    """What is wrong, and a sentence for people."""

    fault: Fault
    why: str


def bound(losses: Sequence[float]) -> float:
    """Above this a batch's loss is high, after batches with these; see the module's docstring."""
    middle = median(losses)
    spread = median(abs(loss - middle) for loss in losses)
    return middle + max(_SIGMAS * _SIGMA * spread, _LEAST * abs(middle))


def of_update(finite: bool) -> Finding | None:
    """`finite` says whether all numbers of the update are."""
    return None if finite else Finding(Fault.NOT_FINITE, "its update holds numbers that are not finite")


def of_state(finite: bool, round_: int) -> Finding | None:
    """`finite` says whether all numbers of θ_round are."""
    why = f"the state of round {round_} holds numbers that are not finite"
    return None if finite else Finding(Fault.NOT_FINITE, why)


def of_memory(same: bool, round_: int) -> Finding | None:
    """`same` says whether θ_round in memory has the digest that it had when it was made or loaded."""
    why = f"the state of round {round_} changed in this machine's memory"
    return None if same else Finding(Fault.DAMAGED_STATE, why)


def look_due(since: float, took: float) -> bool:
    """Whether the state in memory is digested again: `since` seconds after the last time, which `took` so many."""
    return since * _SHARE >= took


def pause_after(in_a_row: int) -> float:
    """Seconds to wait in quarantine: time for the others, and for the coordinator's word that the run goes back."""
    return float(2.0 ** (in_a_row - 1))


class Health:
    """What is remembered of one peer's batches and quarantines."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._high = 0  # in a row
        self._rounds = 0  # done
        self._quarantines: deque[int] = deque(maxlen=MOST)  # after how many rounds

    def of_batch(self, loss: float) -> Finding | None:
        """After a batch with so much loss per sample."""
        if not math.isfinite(loss):
            return Finding(Fault.NOT_FINITE, f"the loss is {loss}")
        before = tuple(self._losses)
        self._losses.append(loss)
        self._high = self._high + 1 if len(before) >= ENOUGH and loss > bound(before) else 0
        if self._high < IN_A_ROW:
            return None
        usual = median(before)
        return Finding(Fault.LOSS_SPIKE, f"the loss is {loss:.3g} in {self._high} batches, after about {usual:.3g}")

    def round_done(self) -> None:
        """This peer's update was in a round."""
        self._rounds += 1

    def quarantined(self) -> int:
        """Count a quarantine: how many there are in a row, or with hardly a round between them. What was learned about
        the loss is forgotten.
        """
        self._losses.clear()
        self._high = 0
        self._quarantines.append(self._rounds)
        return sum(self._rounds - rounds < _WITHIN for rounds in self._quarantines)
