"""Whether faults cost a swarm anything but time: held-out loss at equal samples, with faults and without.

python benchmarks/bench_chaos.py [--quick] [--lab]

Five real peers with the tests' tiny model on loopback (--lab: on home links in the lab; needs root), gradient mode:
undisturbed with three seeds of model and sample order, then with the first of them and a plan of faults (tests/chaos).
The gap is that of the disturbed curve to the undisturbed ones' mean, at the same samples of all peers. The noise band
is the 95 % prediction interval for one more run, from the deviation of the undisturbed ones, pooled over the points of
the curve. --quick: three peers, one undisturbed run, so no band.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from benchmarks.results import record
from tests.chaos.figures import figures, heldout
from tests.chaos.plan import Fault, plan
from tests.chaos.setting import Setting
from tests.chaos.story import Record, tell
from tests.lab import kernel
from tests.leftovers import nothing_left

STUDENT = {2: 4.30, 1: 12.7}  # the 97.5 % point of Student's t by degrees of freedom

Curve = list[tuple[int, float]]  # (samples of all peers, held-out loss), ascending


@dataclass(frozen=True)
class Size:
    """How much is run; times in seconds."""

    peers: int
    seeds: tuple[int, ...]
    undisturbed: float
    disturbed: float
    plan: int  # its seed
    evaluation: int = 10  # rounds between two


FULL = Size(5, (0, 1, 2), undisturbed=80, disturbed=120, plan=1)
QUICK = Size(3, (0,), undisturbed=5, disturbed=8, plan=2, evaluation=3)


def compared(disturbed: Curve, undisturbed: Sequence[Curve]) -> dict[str, Any]:
    """The gap in nats per token, at the points of the disturbed curve that all others reach, but for the first two,
    between which the loss falls too steeply for a straight line. The first undisturbed run has the same seed.
    """
    end = min(curve[-1][0] for curve in [disturbed, *undisturbed])
    points = [(samples, loss) for samples, loss in disturbed[2:] if samples <= end]
    if not points:
        return {"points": 0}
    others = [[_at(samples, curve) for curve in undisturbed] for samples, _ in points]
    gaps = [loss - statistics.mean(beside) for (_, loss), beside in zip(points, others, strict=True)]
    found = {"points": len(points), "samples compared": points[-1][0], "loss at the end": points[-1][1]}
    found |= {"gap at the end": gaps[-1], "mean gap": statistics.mean(gaps), "worst gap": max(gaps, key=abs)}
    own = [loss - beside[0] for (_, loss), beside in zip(points, others, strict=True)]
    found |= {"mean gap to the same seed": statistics.mean(own), "worst gap to the same seed": max(own, key=abs)}
    return found | (_band(others, gaps) if len(undisturbed) > 1 else {})


def _at(samples: int, curve: Curve) -> float:
    known, losses = zip(*curve, strict=True)
    return float(np.interp(samples, known, losses))


def _band(others: Sequence[Sequence[float]], gaps: Sequence[float]) -> dict[str, Any]:
    runs = len(others[0])
    deviation = sqrt(statistics.mean(statistics.variance(beside) for beside in others))
    band = STUDENT[runs - 1] * deviation * sqrt(1 + 1 / runs)
    return {"noise band": band, "within noise": all(abs(gap) <= band for gap in gaps)}


def measure(setting: Setting, size: Size) -> dict[str, Any]:
    """Raises AssertionError when an invariant does not hold."""
    quiet = [replace(setting, seed=seed) for seed in size.seeds]
    undisturbed = [heldout(_run(one, (), size.undisturbed)) for one in quiet]
    faults = plan(size.plan, size.disturbed, size.peers, setting.kinds)
    story = _run(quiet[0], faults, size.disturbed)
    rounded = {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in compared(heldout(story), undisturbed).items()
    }
    return {**figures(story), **rounded, "disturbed": heldout(story), "undisturbed": undisturbed}


def _run(setting: Setting, faults: Sequence[Fault], seconds: float) -> Record:
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        nothing_left(),
        setting.stage(Path(folder)) as (run, stage),
    ):
        story = tell(run, stage, faults, seconds, lambda text: print(f"seed {setting.seed}: {text}", flush=True))
    assert not story.wrong, story.wrong
    return story


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="three peers, some rounds; writes nothing")
    parser.add_argument("--lab", action="store_true", help="on home links, which are cut and slowed, too; needs root")
    asked = parser.parse_args()
    if asked.lab and (why := kernel.missing()):
        sys.exit(f"Not measured: {why}.")
    size = QUICK if asked.quick else FULL
    record("chaos", measure(Setting(size.peers, lab=asked.lab, evaluation=size.evaluation), size), asked.quick)


if __name__ == "__main__":
    main()
