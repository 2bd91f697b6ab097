"""Held-out loss at equal samples: local mode's ways against synchronous training, at 2, 4 and 8 replicas.

python benchmarks/bench_loss.py [--quick] [--long] [--cache FOLDER]

A Llama of a million parameters learns the built-in text. Synchronous: one AdamW on batches of 16 samples, as gradient
mode does. Local: each of n replicas takes inner steps on 16 / n of the same samples; a round is `STEPS` of them. All
ways of a seed share initial weights, samples and their order, held-out samples and the schedule.
With --long, ten times as many rounds, of eight replicas and one seed, on the source text of Python's standard library:
the built-in text would be learned by heart. An hour and a half of a core; results in loss_long.json.
With --cache, runs that are in the folder are not made again, so an interrupted benchmark goes on where it was; it knows
runs by their spec, so take an empty folder when the code has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from benchmarks.replicas import Ground, losses
from benchmarks.results import FOLDER, record
from swarm.runspec import RunSpec, loads

SPEC = """
[run]
name = "loss"
seed = {seed}
[model]
source = "preset:tiny-llama"
tokenizer = "bpe:1024"
[data]
source = "{source}"
sequence_length = 64
heldout_fraction = 0.1
[training]
mode = "{mode}"
rounds = {rounds}
target_batch_size = {target}
micro_batch_size = 16
precision = "bf16"
learning_rate = {rate}
warmup_samples = {warmup}
[local]
steps = {steps}
batch_size = {size}
{local}
"""
BATCH = 16  # samples that all replicas together see in one inner step
STEPS = 15  # inner steps of a round
RATE, RATE_SPARSE, RATE_NESTEROV = 4e-3, 5e-3, 1.5e-3  # inner learning rates at their peak
SAMPLES, QUICK_SAMPLES, LONG_SAMPLES = 7680, 480, 76_800  # of all replicas, 64 tokens each
LONG_TEXT = 16_000_000  # characters, more than one epoch of the samples
REPLICAS = (2, 4, 8)
SEEDS = (0, 1, 2)
PUBLISHED = {2: 1.3, 4: 3.3, 8: 6.1}  # percent; arXiv 2503.09799, its fit at 1 M parameters and 30 steps, tuned
OUTER_SPARSE = {2: 1.0, 4: 0.5, 8: 0.5}  # outer learning rates
OUTER_NESTEROV = {2: 0.6, 4: 0.7, 8: 0.8}
POINTS = 4  # of a curve

Curve = list[tuple[int, float]]  # (samples, held-out loss)


@dataclass(frozen=True)
class Way:
    """A way to train.

    `local` is its part of the section [local], `outer` the outer learning rate by the number of replicas (1 where none
    is given), `steps` the steps of a round, `rate` the inner learning rate at its peak. It is run with the first
    `seeds` of the benchmark's, and with those numbers of `replicas`.
    """

    name: str
    local: str = ""
    outer: Mapping[int, float] = field(default_factory=dict)
    steps: int = STEPS
    rate: float = RATE
    seeds: int = len(SEEDS)
    replicas: tuple[int, ...] = REPLICAS

    def settings(self, replicas: int) -> str:
        """Its part of the section [local]."""
        return f"{self.local}\nouter_learning_rate = {self.outer.get(replicas, 1.0)}"


SYNCHRONOUS = Way("synchronous", steps=1)
LOCAL = (
    Way("int8", 'codec = "int8"'),
    Way("sparse", 'codec = "sparse"', OUTER_SPARSE, rate=RATE_SPARSE),
    Way("int8, overlapped", 'codec = "int8"\noverlap = true', seeds=1),
    Way("int8, Nesterov", 'codec = "int8"\nouter_momentum = 0.9', OUTER_NESTEROV, rate=RATE_NESTEROV, seeds=1),
    Way("sparse, 512 kept", 'codec = "sparse"\nkept = 512', OUTER_SPARSE, rate=RATE_SPARSE, seeds=1),
    Way("int8, 3 steps", 'codec = "int8"', steps=3, seeds=1, replicas=(8,)),
    Way("sparse, 3 steps", 'codec = "sparse"', OUTER_SPARSE, steps=3, rate=RATE_SPARSE, seeds=1, replicas=(8,)),
    Way("sparse, no feedback", 'codec = "sparse"\nerror_feedback = 0.0', OUTER_SPARSE, rate=RATE_SPARSE, seeds=1),
)


LONG = (Way("int8", 'codec = "int8"'), Way("sparse", 'codec = "sparse"', OUTER_SPARSE, rate=RATE_SPARSE))


@dataclass(frozen=True)
class Bench:
    """How much is done, of which text, and where finished runs are kept."""

    samples: int
    seeds: tuple[int, ...]
    replicas: tuple[int, ...]
    cache: Path
    ways: tuple[Way, ...] = LOCAL
    source: str = "builtin:pydoc-topics"

    def curve(self, way: Way, replicas: int, seed: int) -> Curve:
        """Held-out losses of a run, computed or found."""
        spec = self._spec(way, replicas, seed)
        kept = self.cache / f"{hashlib.sha256(spec.to_toml().encode()).hexdigest()[:32]}.json"
        if not kept.exists():
            ground = Ground.prepare(spec, self.cache / f"seed-{seed}")
            every = max(1, spec.training.rounds // POINTS)
            kept.write_text(json.dumps(list(losses(ground, spec, replicas, every))))
        found = [(int(samples), float(loss)) for samples, loss in json.loads(kept.read_text())]
        print(f"{way.name}, {replicas} replicas, seed {seed}: {found[-1][1]:.4f}", file=sys.stderr, flush=True)
        return found

    def _spec(self, way: Way, replicas: int, seed: int) -> RunSpec:
        target = BATCH * way.steps
        return loads(
            SPEC.format(
                seed=seed,
                source=self.source,
                mode="gradient" if way is SYNCHRONOUS else "local",
                rounds=self.samples // target,
                target=target,
                rate=way.rate,
                warmup=self.samples // 16,
                steps=way.steps,
                size=BATCH // replicas,
                local=way.settings(replicas),
            )
        )


def compared(bench: Bench) -> dict[str, Any]:
    """All curves of all seeds, seed by seed: {"synchronous": [curve of each seed], "sparse, 8 replicas": …}."""
    found: dict[str, list[Curve]] = {}
    for index, seed in enumerate(bench.seeds):
        for name, way, replicas in _runs(bench):
            if index < way.seeds:
                found.setdefault(name, []).append(bench.curve(way, replicas, seed))
    return found


def _runs(bench: Bench) -> Iterator[tuple[str, Way, int]]:
    yield SYNCHRONOUS.name, SYNCHRONOUS, 1
    for replicas in bench.replicas:
        for way in (way for way in bench.ways if replicas in way.replicas):
            yield _name(way, replicas), way, replicas


def _name(way: Way, replicas: int) -> str:
    return f"{way.name}, {replicas} replicas"


def summary(curves: dict[str, list[Curve]]) -> dict[str, Any]:
    """Final losses, and gaps to the synchronous run of the same seed in percent: each, mean, standard deviation."""
    final = {name: [curve[-1][1] for curve in found] for name, found in curves.items()}
    base = final[SYNCHRONOUS.name]
    gaps = {
        name: [round(100 * (loss / base[seed] - 1), 2) for seed, loss in enumerate(found)]
        for name, found in final.items()
        if name != SYNCHRONOUS.name
    }
    return {
        "final_loss": {name: [round(loss, 4) for loss in found] for name, found in final.items()},
        "gap_percent": gaps,
        "gap_percent_mean": {name: round(statistics.mean(found), 2) for name, found in gaps.items()},
        "gap_percent_deviation": {
            name: round(statistics.stdev(found), 2) for name, found in gaps.items() if len(found) > 1
        },
        "published_gap_percent": PUBLISHED,
    }


def library_text(path: Path) -> str:
    """Write the standard library's source text to `path`; every Python brings it along."""
    folder, text = Path(sysconfig.get_path("stdlib")), ""
    for file in sorted(folder.rglob("*.py")):
        if "site-packages" not in file.parts and len(text) < LONG_TEXT:
            text += file.read_text(errors="replace") + "\n\n"
    path.write_text(text[:LONG_TEXT])
    return str(path)


def plot(curves: dict[str, list[Curve]], gaps: dict[str, list[float]], path: Path) -> None:
    """Loss over samples with most replicas and the first seed; final gap over the number of replicas, mean of seeds."""
    import matplotlib as mpl

    mpl.use("Agg")  # draws files only
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name in (SYNCHRONOUS.name, *(_name(way, REPLICAS[-1]) for way in LOCAL)):
        left.plot(*zip(*curves[name][0], strict=True), label=name)
    for way in LOCAL:
        found = [gaps[_name(way, replicas)] for replicas in way.replicas]
        means, spreads = [statistics.mean(gap) for gap in found], [statistics.pstdev(gap) for gap in found]
        right.errorbar(way.replicas, means, spreads, label=way.name, capsize=3, marker="o")
    right.plot(REPLICAS, [PUBLISHED[replicas] for replicas in REPLICAS], "k--", label="published fit, 30 steps")
    left.set(xlabel="samples of all replicas", ylabel="held-out loss, nats per token")
    right.set(xlabel="replicas", ylabel="gap to synchronous, %", xticks=REPLICAS)
    for axes in (left, right):
        axes.legend(fontsize="x-small")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, record and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute; writes nothing")
    parser.add_argument("--long", action="store_true", help="ten times as many rounds, eight replicas, one seed")
    parser.add_argument("--cache", type=Path, help="a folder that keeps finished runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        if options.long:
            text = library_text(cache / "library.txt")
            figures = summary(curves := compared(Bench(LONG_SAMPLES, SEEDS[:1], (8,), cache, LONG, text)))
            record("loss_long", {**figures, "curves": curves}, quick=False)
            return
        quick, whole = Bench(QUICK_SAMPLES, SEEDS[:1], (4,), cache), Bench(SAMPLES, SEEDS, REPLICAS, cache)
        curves = compared(quick if options.quick else whole)
    figures = summary(curves)
    if not options.quick:
        FOLDER.mkdir(parents=True, exist_ok=True)
        plot(curves, figures["gap_percent"], FOLDER / "loss.png")
        figures["curves"] = curves
    record("loss", figures, options.quick)


if __name__ == "__main__":
    main()
