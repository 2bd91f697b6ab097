"""The pictures of the benchmarks in the lab, in docs/results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl

from benchmarks.home import Found
from benchmarks.results import FOLDER

mpl.use("Agg")

from matplotlib import pyplot

SHOWN = {"utilisation": "compute time / wall time", "samples_per_second": "samples per second of the swarm"}


def links(found: Mapping[float, Mapping[str, Found | str]]) -> None:
    """Utilisation and samples per second against the links' rate; systems without a figure have no point there."""
    systems = list(dict.fromkeys(system for row in found.values() for system in row))
    lines = {
        system: [(rate, row[system]) for rate, row in found.items() if isinstance(row[system], Found)]
        for system in systems
    }
    _draw("links.png", lines, "link, Mbit/s up and down", list(found), "Four peers, 10.6 M parameters, 40 ms")


def scaling(found: Mapping[int, Found]) -> None:
    """The same against the number of peers."""
    lines = {"local": list(found.items())}
    _draw("scaling.png", lines, "peers", list(found), "10.6 M parameters, 20 Mbit/s, 40 ms, two cores for all")


def _draw(
    name: str, lines: Mapping[str, Sequence[tuple[float, Found]]], label: str, ticks: Sequence[float], title: str
) -> None:
    figure, panes = pyplot.subplots(1, 2, figsize=(11, 4.5))
    for pane, (key, shown) in zip(panes, SHOWN.items(), strict=True):
        for system, points in lines.items():
            where, values = [at for at, _ in points], [getattr(result, key) for _, result in points]
            pane.plot(where, values, marker="o", label=system)
        highest = max(getattr(result, key) for points in lines.values() for _, result in points)
        pane.set(xlabel=label, ylabel=shown, xscale="log", ylim=(0, 1.1 * highest))
        pane.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        pane.minorticks_off()
        pane.grid(alpha=0.3)
    panes[0].legend()
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(FOLDER / name, dpi=110)
