"""Which updates are refused for what is in them, by everybody alike, and why. Pure.

What they say of themselves (who, for which round and state, how many samples) is looked at in `peer.seals`, their form
before memory is taken in `peer.codecs`. A refused update is left out as if it had never been sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt
from statistics import median

import numpy as np
from numpy.typing import NDArray

from peer.agreement import FEWEST, among
from peer.exact import products, row_sums

LARGEST = 3.0  # times the median of the norms
LEAST_OVERLAP = 0.5  # times the median of the overlaps
_AT_ONCE = 1 << 16  # values of each that are looked at together


def by_norm(norms: Sequence[float], noisy: Sequence[int] = (), weighing: Sequence[bool] = ()) -> dict[int, str]:
    """The refused among updates of these norms; the usual norm is that of those who weigh (all, where it is not said).

    `noisy`: how many samples each is the mean of, where it is one of gradients: their noise falls with the square root
    of the samples, so one of fewer samples than the median may be so much larger; its weight falls faster.
    """
    refused = {peer: "its values are not finite" for peer, norm in enumerate(norms) if not isfinite(norm)}
    weigh = weighing or [True] * len(norms)
    good = [norm for norm, weighs in zip(norms, weigh, strict=True) if weighs and isfinite(norm)]
    usual = median(good) if good else 0.0
    if len(good) < FEWEST or not usual:
        return refused
    typical = median(count for count, weighs in zip(noisy, weigh, strict=True) if weighs) if noisy else 0.0
    for peer, norm in enumerate(norms):
        limit = LARGEST * usual * (max(1.0, sqrt(typical / noisy[peer])) if noisy else 1.0)
        if peer not in refused and norm > limit:
            refused[peer] = f"its norm is {norm / usual:.3g} times the median, more than {limit / usual:.3g}"
    return refused


class Census:
    """What a round's updates look like beside each other, gathered tensor by tensor in the same order by everybody.

    Each is compared with those that weigh: who is on probation is no measure for others.
    """

    def __init__(self, weighing: Sequence[bool], sparse: bool) -> None:
        peers = len(weighing)
        self._weighing = weighing
        self._sparse = sparse
        self._squares = np.zeros(peers)
        self._products = np.zeros((peers, peers))
        self._sent = [0] * peers  # values other than zero
        self._shared = [0] * peers  # of them, those that another peer sent too

    def add(self, updates: Sequence[NDArray[np.floating]]) -> None:
        """Look at one tensor of all."""
        flat = [update.reshape(-1) for update in updates]
        for begin in range(0, flat[0].size, _AT_ONCE):
            self._add([update[begin : begin + _AT_ONCE] for update in flat])

    def _add(self, updates: Sequence[NDArray[np.floating]]) -> None:
        there = np.array([update != 0 for update in updates])
        chosen_by = np.sum(there[list(self._weighing)], axis=0, dtype=np.int32) if self._sparse else None
        for peer, (mine, weighs) in enumerate(zip(there, self._weighing, strict=True)):
            self._sent[peer] += int(np.count_nonzero(mine))
            if chosen_by is not None:
                self._shared[peer] += int(np.count_nonzero(mine & (chosen_by > weighs)))  # by another one, too
        rows = np.array(updates, np.float64)
        rows = rows[:, there.any(axis=0)] if self._sparse else rows
        with np.errstate(over="ignore", invalid="ignore"):
            sums = row_sums(rows * rows)
        self._squares += sums
        rows[~np.isfinite(sums)] = 0.0  # who is refused for that is not compared with anybody
        self._products += products(rows)

    def judged(self) -> tuple[list[float], dict[int, str]]:
        """What each sample of an update weighs beside its share, 0 to 1, and who is left out, and why."""
        found = by_norm(np.sqrt(self._squares).tolist(), weighing=self._weighing)
        if any(count for count, weighs in zip(self._sent, self._weighing, strict=True) if weighs):
            found |= {peer: "it holds nothing but zeros" for peer, count in enumerate(self._sent) if not count}
        found = {**(self._by_overlap(found) if self._sparse else {}), **found}
        left = [peer for peer in range(len(self._sent)) if peer not in found]
        values = max(1, min((self._sent[peer] for peer in left), default=1))
        weights, against = among(left, self._products[np.ix_(left, left)], values, self._weighing)
        return [weights.get(peer, 0.0) for peer in range(len(self._sent))], found | against

    def _by_overlap(self, refused: dict[int, str]) -> dict[int, str]:
        """Who chose values that others did not choose: those count as if all had sent them (`peer.combine`)."""
        parts = {p: self._shared[p] / sent for p, sent in enumerate(self._sent) if sent and p not in refused}
        usual_parts = [part for peer, part in parts.items() if self._weighing[peer]]
        if len(usual_parts) < FEWEST:
            return {}
        usual = median(usual_parts)
        return {
            peer: f"{part:.0%} of its values were chosen by others too, against {usual:.0%} of the median's"
            for peer, part in parts.items()
            if part < LEAST_OVERLAP * usual
        }
