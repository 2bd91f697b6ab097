"""How far each of a round's updates points where the others point. Pure, the same bits on every machine.

An update's agreement is the median of its cosines to the others: a majority's word, whatever a minority sends, and
however much alike it is among itself. After Cao et al. 2021, "FLTrust" (arXiv 2012.13995), which trusts by the cosine
to a server's own update; here nobody has one that is above the others'.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import sqrt
from statistics import median

import numpy as np

from peer.exact import Rows

FEWEST = 3  # updates, below which there is no majority to compare with
_ASIDE, _SURE = 1.5, 2.5  # standard deviations, and errors
_NORMAL = 1.4826  # standard deviations to a median deviation
_OF_MEDIAN = 1.2533  # of the median of many is more than that of their mean: π/2, as a variance
_LEAST = 0.5  # times the median agreement; who has less weighs less

Cosines = list[list[float]]


def trust(products: Rows, values: int, weighing: Sequence[bool]) -> tuple[list[float], dict[int, str]]:
    """What each update weighs, 0 to 1, and who is refused, why, by the inner products [n, n] of updates of so many
    values. Who agrees less than half as much as usual, and apart from how all stray, weighs less. Each is compared with
    those that weigh anything.
    """
    left = [peer for peer, weighs in enumerate(weighing) if weighs]
    if len(left) < FEWEST:
        return [float(weighs) for weighs in weighing], {}
    cosines = _cosines(products)
    chance = _OF_MEDIAN / sqrt(values * (len(left) - 1))  # how far agreements stray that mean nothing
    refused = _opposed(cosines, left, chance)
    left = [peer for peer in left if peer not in refused]
    light = [peer for peer, weighs in enumerate(weighing) if not weighs]
    refused |= {peer: why for peer in light if (why := _objection(cosines, peer, left, chance))}
    by = {peer: _agreement(cosines, peer, left) for peer in left}
    usual, stray = _spread(by.values(), chance)
    enough = min(_LEAST * usual, usual - _ASIDE * stray)
    weights = {peer: min(1.0, max(0.0, value / enough)) if enough > 0 else 1.0 for peer, value in by.items()}
    return [weights.get(peer, 0.0) for peer in range(len(weighing))], refused


def among(
    left: Sequence[int], products: Rows, values: int, weighing: Sequence[bool]
) -> tuple[dict[int, float], dict[int, str]]:
    """`trust` of those peers who are `left` of all, by their places among all; `products` are of these, `weighing` of
    all.
    """
    weights, refused = trust(products, values, [weighing[peer] for peer in left])
    return dict(zip(left, weights, strict=True)), {left[place]: why for place, why in refused.items()}


def _opposed(cosines: Cosines, peers: Sequence[int], chance: float) -> dict[int, str]:
    """Who of these points away from the others. The worst first, and a minority at most."""
    left, found = list(peers), dict[int, str]()
    while 2 * (len(found) + 1) < len(peers):
        worst = min(left, key=lambda peer: _agreement(cosines, peer, left))
        why = _objection(cosines, worst, left, chance)
        if not why:
            break
        found[worst] = why
        left.remove(worst)
    return found


def _objection(cosines: Cosines, peer: int, others: Sequence[int], chance: float) -> str:
    agreement = _agreement(cosines, peer, others)
    if agreement >= -_SURE * max(chance, _doubt(_to_others(cosines, peer, others))):
        return ""
    return f"it points away from the others: the median of its cosines to them is {agreement:.2f}"


def _agreement(cosines: Cosines, peer: int, others: Sequence[int]) -> float:
    return median(_to_others(cosines, peer, others))


def _to_others(cosines: Cosines, peer: int, others: Sequence[int]) -> list[float]:
    return [cosines[peer][other] for other in others if other != peer]


def _doubt(cosines: list[float]) -> float:
    """The standard error of their median, by how far the lower ones stray: the upper ones may be to accomplices."""
    middle = median(cosines)
    below = median(middle - cosine for cosine in cosines if cosine <= middle)
    return _OF_MEDIAN * _NORMAL * below / sqrt(len(cosines))


def _spread(values: Collection[float], chance: float) -> tuple[float, float]:
    """The median, and the standard deviation as if they were normal but for a minority; that is `chance` at least."""
    usual = median(values)
    return usual, max(chance, _NORMAL * median(abs(value - usual) for value in values))


def _cosines(products: Rows) -> Cosines:
    norms = np.sqrt(products.diagonal())
    sizes = norms[:, None] * norms
    found: Cosines = np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 0).tolist()
    return found
