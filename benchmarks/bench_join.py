"""How long a volunteer waits: from `swarm join` to the first sample that is counted.

python benchmarks/bench_join.py [--quick]

A coordinator and one member on this machine train the tiny Llama; another peer joins with an empty disk, then again
with the run's files there. Rounds of 24 samples; one thread per process. Also the longest time in which a screen shows
nothing new and no reason to wait. Median of five joins each (--quick: one).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from tests.harness import Event
from tests.swarm_run import SwarmRun, after_round, swarm_run

_CLEAR = ("training", "exchanging")  # phases that explain themselves


def joined(run: SwarmRun, name: str) -> tuple[float, float]:
    """Seconds to the first counted sample, and the longest of them without a word why."""
    began = last = time.monotonic()
    longest, explained = 0.0, False

    def counted(event: Event) -> bool:
        nonlocal last, longest, explained
        now = time.monotonic()
        longest, last = (longest if explained else max(longest, now - last)), now
        if event.get("event") == "status":
            explained = bool(event.get("why")) or event.get("phase") in _CLEAR
        return bool(event.get("counted"))

    peer = run.join(name)
    peer.wait_for(counted, 90)
    seconds = time.monotonic() - began
    peer.interrupt()
    peer.finish(30)
    return seconds, longest


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one join each; writes nothing")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="bench-") as name, swarm_run(Path(name), rounds=1_000_000) as run:
        run.launch()
        run.join("member").wait_for(after_round(2), 90)
        count = 1 if quick else 5
        cold = [joined(run, f"peer-{number}") for number in range(count)]
        warm = [joined(run, f"peer-{number}") for number in range(count)]
    figures = {
        "seconds_to_first_counted_sample": median(seconds for seconds, _ in cold),
        "seconds_to_first_counted_sample_again": median(seconds for seconds, _ in warm),
        "longest_wait_without_a_reason_seconds": max(wait for _, wait in [*cold, *warm]),
        "all": {"cold": cold, "warm": warm},
    }
    record("join", figures, quick)


if __name__ == "__main__":
    main()
