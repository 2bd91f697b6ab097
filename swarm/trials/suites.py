"""What a checkpoint can be held against, and how answers become figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from swarm.trials import probes
from swarm.trials.answers import Item, means
from swarm.trials.names import EVALUATE, GARAGE, REDTEAM

_NAMED = 200  # failed probes that are named


def writes(kind: str) -> bool:
    """Whether the model writes texts for a suite of this kind."""
    return kind == REDTEAM


def groups(kind: str) -> Mapping[int, str]:
    """The category of each item, where there are some."""
    return {number: probe.category for number, probe in enumerate(probes.own())} if kind == REDTEAM else {}


def figures(kind: str, suite: str, items: Sequence[Item], answers: int) -> dict[str, Any]:
    """What the items say, as JSON: `figures`, each as in `swarm.bundle.manifest.Evaluation`, and the ids of `failed`
    probes. Without items there are none.
    """
    if not items:
        return {"figures": [], "failed": []}
    found = means(items, groups(kind) if suite == GARAGE else {})
    named = _losses(found) if kind == EVALUATE else _resisted(found)
    rows = [
        {"suite": suite, "metric": metric, "value": value, "samples": count, "answers": answers}
        for metric, value, count in named
    ]
    return {"figures": rows, "failed": failed(items)[:_NAMED] if suite == GARAGE else []}


def failed(items: Sequence[Item]) -> list[str]:
    """The ids of the project's own probes that the model did not resist."""
    own = probes.own()
    return [own[item.index].id for item in items if item.value < 1.0]


def _losses(found: Mapping[str, tuple[float, int]]) -> list[tuple[str, float, int]]:
    loss, count = found[""]
    return [("loss", loss, count), ("perplexity", math.exp(min(loss, 700.0)), count)]


def _resisted(found: Mapping[str, tuple[float, int]]) -> list[tuple[str, float, int]]:
    return [(f"resisted/{name}" if name else "resisted", value, count) for name, (value, count) in found.items()]
