"""What a spot check says of another member's update in a round of local mode. Pure.

A checker does the round again from the same θ, on the member's samples and, as a control, on as many others. It knows
neither the member's inner moments nor what had waited in its error feedback, so it gets another update in any case. But
what the two recomputations do not have in common comes from the samples alone, and there the member's update must be
like the first one: who trained on other samples, or did not train, is like both or like none. One such answer proves
nothing; many do (`coordinator.trust`).

The rates at which honest and other members pass are in docs/results/checks.json (benchmarks/bench_checks.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from peer.codecs import Floats

MARGIN = 0.08  # of `Likeness.beyond`
LOSS_MARGIN = 0.0  # in standard errors of the difference
LARGEST = 135_000_000  # trained parameters, of which a round is done again; of more, losses are compared

Tensors = Mapping[str, Floats]


@dataclass(frozen=True)
class Verdict:
    """Whether the member passed, None when nothing can be said; `why` gives the figures."""

    passed: bool | None
    why: str


@dataclass(frozen=True)
class Likeness:
    """Cosines of an update with what came of the member's own samples and of others; `beyond` is that with their
    difference, once what both have in common is taken out.
    """

    own: float
    control: float
    beyond: float


def by_recomputation(sent: Tensors, own: Tensors, control: Tensors) -> Verdict:
    """Compare what a member sent with the round done again on its own samples and on others."""
    found = likeness(sent, own, control)
    sentence = (
        f"its update is {found.own:.2f} like one from its samples, {found.control:.2f} like one from others, and "
        f"{found.beyond:.2f} beyond what these have in common (honest is {MARGIN:g} and more)"
    )
    return Verdict(found.beyond >= MARGIN, sentence)


def likeness(sent: Tensors, own: Tensors, control: Tensors) -> Likeness:
    """Of tensors of the same names and shapes, at the values that travelled."""
    products = np.zeros((3, 3))
    for name in sent:
        there = sent[name] != 0
        rows = np.stack([values[name][there].astype(np.float64) for values in (sent, own, control)])
        products += rows @ rows.T
    what, mine, other = np.eye(3)
    common, difference = (mine + other) / 2, mine - other
    beyond = _cosine(products, _without(products, what, common), _without(products, difference, common))
    return Likeness(_cosine(products, what, mine), _cosine(products, what, other), beyond)


def by_loss(own: Sequence[float], control: Sequence[float]) -> Verdict:
    """Compare by how much a member's update lowers the loss of its own samples and of others: of each batch, in nats
    per sample. For models that are too large to do a round again.
    """
    error = math.sqrt(_variance(own) + _variance(control))
    gain, other = float(np.mean(own)), float(np.mean(control))
    sentence = (
        f"its update lowers the loss of its samples by {gain:.4f}, of others by {other:.4f} nats per sample "
        f"(standard error {error:.4f})"
    )
    return Verdict(gain - other > LOSS_MARGIN * error, sentence)


def _variance(gains: Sequence[float]) -> float:
    """Of their mean."""
    return float(np.var(gains)) / max(len(gains) - 1, 1)


# Vectors below are combinations of three, whose inner products are known.


def _inner(products: Floats, one: Floats, other: Floats) -> float:
    return float(one @ products @ other)


def _without(products: Floats, vector: Floats, common: Floats) -> Floats:
    size = _inner(products, common, common)
    return vector - common * (_inner(products, vector, common) / size) if size else vector


def _cosine(products: Floats, one: Floats, other: Floats) -> float:
    sizes = _inner(products, one, one) * _inner(products, other, other)
    return _inner(products, one, other) / math.sqrt(sizes) if sizes > 0 else 0.0
