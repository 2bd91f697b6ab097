"""A bundle pushed to Debian's docker-registry on this machine and pulled again, over the disk's copy speed.

    python benchmarks/bench_registry.py [--quick]

Both commands run as users run them, in processes of their own, their start included. Copies of the same files are made
before and after each; a ratio is over the mean of the two, and the median of the rounds counts: a disk's speed changes
from one minute to the next. What is read is dropped from memory before each step, and what is written is synced, so
that the disk does both. `registry_cpu` are processor seconds of the registry itself: no client is faster than that over
the number of cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from swarm.placing import sync_all
from tests.registry import registry
from tests.small_bundle import content, small_bundle
from tests.swarm_run import swarm_words

FILES = 4
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64 MB once instead of 1 GB five times")
    quick = parser.parse_args().quick
    size, rounds = (64, 1) if quick else (1000, ROUNDS)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        os.environ["SWARM_HOME"] = f"{name}/home"
        folder = Path(name)
        small_bundle(
            folder / "bundle", {f"model-{i}.safetensors": os.urandom(size * 1_000_000 // FILES) for i in range(FILES)}
        )
        seen = [one_round(folder, number) for number in range(rounds)]
    record("registry", figures(size, seen), quick)


def one_round(folder: Path, number: int) -> dict[str, float]:
    """Seconds of each step; a new registry with nothing in it, so that nothing is there already."""
    bundle, out, copy = folder / "bundle", folder / "out", folder / "copy"
    with registry(folder / f"registry-{number}") as served:
        place = f"{served.host}/bench/model:1.0"
        seconds = {"copy_before": copied(bundle, copy)}
        forget(bundle)
        seconds["push"] = timed(lambda: run("push", str(bundle), place))
        seconds["registry_cpu_push"] = cpu = served.cpu_seconds()
        seconds["copy_between"] = copied(bundle, copy)
        forget(served.storage)
        seconds["pull"] = timed(lambda: run("pull", place, str(out)))
        seconds["registry_cpu_pull"] = served.cpu_seconds() - cpu
        seconds["copy_after"] = copied(bundle, copy)
        seconds["push_again"] = timed(lambda: run("push", str(bundle), place))
        assert content(out) == content(bundle)
    shutil.rmtree(out)
    shutil.rmtree(folder / f"registry-{number}")
    return seconds


def copied(source: Path, target: Path) -> float:
    """Seconds for a copy, as the system makes it (in the kernel), that is on the disk."""

    def copy() -> None:
        shutil.copytree(source, target)
        sync_all(target)

    forget(source)
    seconds = timed(copy)
    shutil.rmtree(target)
    return seconds


def forget(folder: Path) -> None:
    """Have what is in the folder on the disk, and no more in memory."""
    for path in filter(Path.is_file, folder.rglob("*")):
        opened = os.open(path, os.O_RDONLY)
        os.fsync(opened)
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(opened)


def run(*words: str) -> None:
    subprocess.run(swarm_words(*words, "--plain-http"), check=True, capture_output=True)


def timed(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def figures(size: int, seen: list[dict[str, float]]) -> dict[str, Any]:
    """Megabytes a second, and ratios to the copies on both sides."""
    median = {name: statistics.median(one[name] for one in seen) for name in seen[0]}
    ratio = {
        "push": [(one["copy_before"] + one["copy_between"]) / 2 / one["push"] for one in seen],
        "pull": [(one["copy_between"] + one["copy_after"]) / 2 / one["pull"] for one in seen],
    }
    copies = [one[name] for one in seen for name in ("copy_before", "copy_between", "copy_after")]
    floor = {step: median[f"registry_cpu_{step}"] / (os.cpu_count() or 1) for step in ("push", "pull")}
    return {
        "megabytes": size,
        "rounds": len(seen),
        "copy_mb_per_second": [
            round(size / seconds) for seconds in (max(copies), statistics.median(copies), min(copies))
        ],
        "mb_per_second": {step: round(size / median[step]) for step in ("push", "pull")},
        "over_copy": {step: round(statistics.median(values), 3) for step, values in ratio.items()},
        "over_copy_each": {step: [round(value, 2) for value in values] for step, values in ratio.items()},
        "registry_cpu_seconds": {step: round(median[f"registry_cpu_{step}"], 2) for step in ("push", "pull")},
        "registry_allows_mb_per_second": {step: round(size / seconds) for step, seconds in floor.items()},
        "push_again_seconds": round(median["push_again"], 2),
    }


if __name__ == "__main__":
    main()
