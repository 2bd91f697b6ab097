"""What a spot check says of another member's update. Pure.

In gradient mode an update is the mean gradient of its samples at θ and nothing else, so a checker makes the same one
from the same samples, up to rounding. In local mode it takes two measures, each on the member's samples and, as a
control, on as many others:

- It does the round again from the same θ. It knows neither the member's inner moments nor what had waited in its error
  feedback, so it gets another update in any case. But what the two recomputations do not have in common comes from the
  samples alone, and there the member's update must be like the first one.
- It looks by how much the update lowers the loss. This takes forward passes only, so it is all that is done for a model
  that is too large for the other.

For who trained on other samples, or did not train, own samples and control are alike, so that both measures are as
often below as above 0. One such answer proves nothing; many do (`coordinator.trust`). At which rates honest and other
members pass is in docs/results/checks.json (benchmarks/bench_checks.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from peer.codecs import Floats
from swarm.sections import Local

LARGEST = 135_000_000  # trained parameters, of which a round is done again
# The least score of an honest member, where its updates hold what it learned in earlier rounds (error feedback) or
# begin elsewhere than at θ_r (overlap), and where they are of one round alone.
MARGIN, DENSE_MARGIN = 0.65, 1.5
# The least nearness of an honest gradient: what half precision and 8 bits leave is 0.94 and more; half of the samples
# are at 0.64 and less (docs/results/checks.json).
NEAR = 0.75
# How far each measure strays for updates from other samples: one unit of a score.
_BEYOND = 0.12  # of `Likeness.beyond`
_ERRORS = 2.4  # of `Gain.errors`: more than one, because the update holds what its sender learned in earlier rounds

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


@dataclass(frozen=True)
class Gain:
    """By how much an update lowers the loss of the member's own samples and of others, nats per sample; `error` is the
    standard error of the difference.
    """

    own: float
    control: float
    error: float

    @property
    def errors(self) -> float:
        """The difference in standard errors; 0 without any."""
        return (self.own - self.control) / self.error if self.error > 0 else 0.0


def judged(gain: Gain, found: Likeness | None, least: float) -> Verdict:
    """What both measures say together, or one alone."""
    total = score(gain, found)
    sentence = f"lowers the loss of its samples by {gain.own:.4f} and of others by {gain.control:.4f} nats per sample"
    if found:
        sentence += f", and is {found.beyond:.2f} like one from its samples beyond what others give as well"
    return Verdict(total >= least, f"its update {sentence}: a score of {total:.2f}, honest is {least:g} and more")


def margin(local: Local) -> float:
    """The least score of an honest member in such a run."""
    return MARGIN if local.feedback or local.overlap else DENSE_MARGIN


def score(gain: Gain, found: Likeness | None) -> float:
    """The mean of the measures, in units of how far each strays for updates from other samples."""
    measures = [gain.errors / _ERRORS, *([found.beyond / _BEYOND] if found else [])]
    return sum(measures) / len(measures)


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


def gain_of(own: Sequence[float], control: Sequence[float]) -> Gain:
    """Of what each batch of the member's samples gained, and each of others, nats per sample. Where a loss is no number
    nothing is said.
    """
    if not np.isfinite([*own, *control]).all():
        return Gain(0.0, 0.0, 0.0)
    error = math.sqrt(_variance(own) + _variance(control))
    return Gain(float(np.mean(own)), float(np.mean(control)), error)


def nearness(sent: Sequence[Floats], own: Sequence[Floats], control: Sequence[Floats]) -> float | None:
    """How near parts of a gradient are to those from its own samples: 1 is the same, 0 as far as those from others are,
    below that farther. None when both are alike, or no numbers. So what all samples have in common says nothing, and
    part f of the samples is at about 1 − √((1 / f − 1) / 2).
    """
    away, apart = _distance(sent, own), _distance(control, own)
    return 1 - away / apart if 0 < apart < math.inf else None


def near(found: Sequence[float | None]) -> Verdict:
    """What looks at several parts of an update say together: the worst of them counts, for who sends other values where
    the checker does not look as a rule must not pass.
    """
    said = [one for one in found if one is not None]
    if not said:
        return Verdict(None, "what was seen of its gradient is the same for all samples")
    worst = min(said)
    why = f"its gradient is {worst:.2f} near that of its samples, where those of others are at 0 and the same is at 1"
    return Verdict(worst >= NEAR, f"{why}; honest is {NEAR:g} and more")


def _distance(one: Sequence[Floats], other: Sequence[Floats]) -> float:
    away = (np.linalg.norm(a.astype(np.float64) - b) for a, b in zip(one, other, strict=True))
    return math.hypot(*map(float, away))


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
