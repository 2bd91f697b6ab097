"""A bundle pushed to Debian's docker-registry on this machine and pulled again, over the disk's copy speed.

    python benchmarks/bench_registry.py [--quick]

Both commands run as users run them, in processes of their own, their start included. Copies of the same files are made
before and after each; a ratio is over the mean of the two, and the median of the rounds counts: a disk's speed changes
from one minute to the next. What is read is dropped from memory before each step, and what is written is synced, so
that the disk does both.

`curl` carries the same files to and from the same registry in the same round, as many at once: a program in C that
neither hashes nor checks anything, so what it reaches is what this registry allows on this machine. Who goes first
changes from round to round. `cpu_seconds` are of processors; over them, `cores_allow_mb_per_second` is what would be
reached if no core ever waited and nothing else ran: it depends least on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import resource
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
from swarm.bundle import manifest
from swarm.bundle.reference import Reference
from swarm.bundle.registry import AT_ONCE, Registry
from swarm.placing import sync_all
from tests.registry import Served, registry
from tests.small_bundle import content, small_bundle
from tests.swarm_run import swarm_words

FILES = 4
ROUNDS = 5
PLACE = "bench/model:1.0"
STEPS = ("push", "pull", "curl_push", "curl_pull")
Step = Callable[[], dict[str, float]]


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
        compile_all(folder / "compiling")
        seen = [one_round(folder, number) for number in range(rounds)]
    record("registry", figures(size, seen), quick)


def compile_all(folder: Path) -> None:
    """Carry a small bundle to and fro: Python compiles what both commands use, as an installation does."""
    small_bundle(folder / "bundle")
    with registry(folder / "registry") as served:
        push(folder / "bundle", served)
        pull(served, folder / "out")


def one_round(folder: Path, number: int) -> dict[str, float]:
    """Seconds of each step; each push goes to a new registry, so that nothing is there already."""
    bundle, copy = folder / "bundle", folder / "copy"
    with registry(folder / "registry") as served, registry(folder / "other") as other:
        seconds = {"start": timed(lambda: run("push", "--help")), "copy_before": copied(bundle, copy)}
        pushes = [lambda: push(bundle, served), lambda: push_by_curl(bundle, other)]
        for step in in_turn(pushes, number):
            forget(bundle)
            seconds |= step()
        seconds["copy_between"] = copied(bundle, copy)
        pulls = [lambda: pull(served, folder / "out"), lambda: pull_by_curl(bundle, served, folder / "by-curl")]
        for step in in_turn(pulls, number):
            forget(served.storage)
            seconds |= step()
        seconds["copy_after"] = copied(bundle, copy)
        seconds["push_again"] = timed(lambda: run("push", str(bundle), f"{served.host}/{PLACE}"))
        assert content(folder / "out") == content(bundle)
    for name in ("out", "by-curl", "registry", "other"):
        shutil.rmtree(folder / name)
    return seconds


def in_turn(steps: list[Step], number: int) -> list[Step]:
    return steps if number % 2 else steps[::-1]


def push(bundle: Path, served: Served) -> dict[str, float]:
    return measured("push", served, lambda: run("push", str(bundle), f"{served.host}/{PLACE}"))


def pull(served: Served, out: Path) -> dict[str, float]:
    return measured("pull", served, lambda: run("pull", f"{served.host}/{PLACE}", str(out)))


def push_by_curl(bundle: Path, served: Served) -> dict[str, float]:
    """Each file by one PUT, to an upload that was opened before."""
    place = Registry.of(Reference.of(f"{served.host}/{PLACE}"), True, writes=True)
    words = [
        word
        for part in manifest.read(bundle).parts
        for word in ("-T", str(bundle / part.path), f"{place.begin()}&digest=sha256:{part.sha256}")
    ]
    return measured("curl_push", served, lambda: curl("-H", "Expect:", *words))


def pull_by_curl(bundle: Path, served: Served, out: Path) -> dict[str, float]:
    """Each file to the disk, and synced."""
    blobs = f"http://{served.host}/v2/{PLACE.partition(':')[0]}/blobs/sha256:"
    words = [
        word for part in manifest.read(bundle).parts for word in ("-o", str(out / part.path), f"{blobs}{part.sha256}")
    ]

    def fetch() -> None:
        out.mkdir()
        curl(*words)
        sync_all(out)

    return measured("curl_pull", served, fetch)


def measured(step: str, served: Served, work: Callable[[], None]) -> dict[str, float]:
    """Seconds, and those of processors that the client and the registry took."""
    client, theirs = children_cpu(), served.cpu_seconds()
    seconds = timed(work)
    return {step: seconds, f"{step}_cpu": children_cpu() - client, f"{step}_registry": served.cpu_seconds() - theirs}


def children_cpu() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def curl(*words: str) -> None:
    command = ["curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", str(AT_ONCE), *words]
    subprocess.run(command, check=True, capture_output=True)


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
    """As where it is installed: compiled once, and not at each start."""
    compiled = {"PYTHONPYCACHEPREFIX": str(Path(os.environ["SWARM_HOME"], "compiled")), "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(swarm_words(*words, "--plain-http"), check=True, capture_output=True, env=os.environ | compiled)


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
    cores = os.cpu_count() or 1
    copies = [one[name] for one in seen for name in ("copy_before", "copy_between", "copy_after")]
    over_curl = {step: [one[f"curl_{step}"] / one[step] for one in seen] for step in ("push", "pull")}
    return {
        "megabytes": size,
        "rounds": len(seen),
        "copy_mb_per_second": [
            round(size / seconds) for seconds in (max(copies), statistics.median(copies), min(copies))
        ],
        "mb_per_second": {step: round(size / median[step]) for step in ratio},
        "curl_mb_per_second": {step: round(size / median[f"curl_{step}"]) for step in ratio},
        "over_copy": medians(ratio),
        "over_copy_each": rounded(ratio),
        "over_curl": medians(over_curl),
        "over_curl_each": rounded(over_curl),
        "cpu_seconds": {
            step: {"client": round(median[f"{step}_cpu"], 2), "registry": round(median[f"{step}_registry"], 2)}
            for step in STEPS
        },
        "cores_allow_mb_per_second": {
            step: round(size * cores / (median[f"{step}_cpu"] + median[f"{step}_registry"])) for step in STEPS
        },
        "push_again_seconds": round(median["push_again"], 2),
        "start_seconds": round(median["start"], 2),
    }


def medians(values: dict[str, list[float]]) -> dict[str, float]:
    return {step: round(statistics.median(each), 3) for step, each in values.items()}


def rounded(values: dict[str, list[float]]) -> dict[str, list[float]]:
    return {step: [round(value, 2) for value in each] for step, each in values.items()}


if __name__ == "__main__":
    main()
