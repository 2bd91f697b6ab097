"""The pictures of the benchmarks in the lab, in docs/results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.home import Found
from benchmarks.results import FOLDER

mpl.use("Agg")

from matplotlib import pyplot

_OFF = 12.0  # percent, where bars are cut off
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


def attacks(found: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """The gap of the final loss to the attack-free run, in percent, for each attack; what fell to pieces has no bar."""
    figure, panes = pyplot.subplots(2, len(found), figsize=(13, 8), sharey="row", layout="constrained")
    for column, (mode, attacks_of) in zip(panes.T, found.items(), strict=True):
        names = [name for name in attacks_of if name != "nobody"]
        for pane, attackers in zip(column, (3, 7), strict=True):
            for shift, way in ((-0.2, "robust"), (0.2, "mean")):
                rows = [attacks_of[name].get(f"{attackers} {way}", {}) for name in names]
                gaps = [row["gap_percent"] if row else 0.0 for row in rows]
                shown = [_OFF if gap is None or gap > _OFF else gap for gap in gaps]
                errors = [row.get("gap_error_percent", 0.0) for row in rows]
                label = f"{way}{' (plain)' * (way == 'mean')}"
                pane.bar([at + shift for at in range(len(names))], shown, 0.4, yerr=errors, label=label)
            pane.axhline(2, color="k", linestyle="--", linewidth=0.8)
            title = f"{mode} mode, {attackers} of 16" + (", gone after half of the run" if attackers == 7 else "")
            pane.set(title=title, ylabel="final loss over attack-free, %", ylim=(-3, _OFF))
            pane.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize="small")
            pane.grid(axis="y", alpha=0.3)
    panes[0][0].legend()
    figure.savefig(path, dpi=100)
