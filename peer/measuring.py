"""What an elected peer measures on the agreed θ: the held-out loss, and the maintainer's own metrics; and its texts.

A metric is a function that an installed package names in the entry point group `garage_swarm.metrics`:
`metric(model, tokenizer, heldout) -> float`, where `heldout` is the path of the held-out samples (`peer.data`). A
volunteer's machine runs only what is installed there; nothing that a coordinator sends is ever executed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from torch import nn

from peer.device import Placement
from peer.memory import trim
from peer.model import evaluate, load_tokenizer
from peer.samples import Writing

GROUP = "garage_swarm.metrics"
Metric = Callable[[nn.Module, Any, Path], float]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """Nats per token, the own metrics that could be computed here, by name, and texts by their prompts."""

    heldout_loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measuring:
    """Measures `model` as it is now on the held-out samples of the file `heldout`."""

    model: nn.Module
    placement: Placement
    folder: Path  # with the tokenizer
    names: tuple[str, ...]
    heldout: Path
    say: Say
    writing: Writing

    def measure(self, batch: int, round_: int) -> Measured:
        """The values on θ_round, `batch` samples at a time; what fails of metrics and texts is left out, and said."""
        with self.placement.autocast():
            loss = evaluate(self.model, self.heldout, batch)
            found = {name: self._metric(name) for name in self.names}
            texts = self._texts(round_) if self.writing.prompts else {}
        trim()
        return Measured(loss, {name: value for name, value in found.items() if value is not None}, texts)

    def _texts(self, round_: int) -> dict[str, str]:
        try:
            return self.writing.texts(self.model, load_tokenizer(self.folder), round_)
        except Exception as error:  # each kind of model generates in its own way: it must not end the training
            self.say(f"the model could write no text here: {error}")
            return {}

    def _metric(self, name: str) -> float | None:
        try:
            value = float(installed(name)(self.model, load_tokenizer(self.folder), self.heldout))
        except Exception as error:  # somebody else's code: it must not end the training
            self.say(f"the metric {name} could not be computed here: {error}")
            return None
        if not math.isfinite(value):
            self.say(f"the metric {name} is {value}; it is left out")
            return None
        return value


def installed(name: str) -> Metric:
    """The metric of that name. Raises LookupError when no installed package has it."""
    for point in entry_points(group=GROUP, name=name):
        metric: Metric = point.load()
        return metric
    raise LookupError(f"no installed package offers it ({GROUP})")
