"""The picture of bench_links: utilisation and samples per second against the links' rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl

from benchmarks.results import FOLDER

mpl.use("Agg")

from matplotlib import pyplot

SHOWN = {"utilisation": "compute time / wall time", "samples_per_second": "samples per second of the swarm"}


def plot(found: Mapping[float, Mapping[str, Any]]) -> None:
    """Write docs/results/links.png; systems without a figure at a rate have no point there."""
    figure, panes = pyplot.subplots(1, 2, figsize=(11, 4.5))
    systems = list(dict.fromkeys(system for row in found.values() for system in row))
    for pane, (key, label) in zip(panes, SHOWN.items(), strict=True):
        for system in systems:
            points = [(rate, getattr(row[system], key)) for rate, row in found.items() if hasattr(row[system], key)]
            pane.plot(*zip(*points, strict=True) if points else ([], []), marker="o", label=system)
        pane.set(xlabel="link, Mbit/s up and down", ylabel=label, xscale="log", ylim=(0, None))
        pane.set_xticks(list(found), [f"{rate:g}" for rate in found])
        pane.grid(alpha=0.3)
    panes[0].legend()
    figure.suptitle("Four peers, 10.6 M parameters, 40 ms")
    figure.tight_layout()
    figure.savefig(FOLDER / "links.png", dpi=110)
