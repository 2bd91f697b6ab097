"""Whether anything grows with the rounds: memory, descriptors, threads, records of the DHT, what the leader keeps.

python benchmarks/bench_growth.py [--quick]

10,000 rounds (--quick: 150) of two real peers with a tiny vector on loopback, in gradient mode and in local mode, and
of a coordinator's engine with a SQLite store, one member and a checkpoint every 10 rounds. "grows" is what
`tests.growth.growth` finds in the second half; of each measure the value at its beginning and end, and its slope
there, per 1,000 rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from tests.growth import Sample, growth, slope
from tests.growth_runs import coordinator, peers


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """What is written down of one process."""
    half = samples[len(samples) // 2 :]
    measures = {
        name: [round(half[0].values[name], 1), round(half[-1].values[name], 1), round(slope(half, name), 3)]
        for name in half[0].values
    }
    return {"rounds": samples[-1].round, "samples": len(samples), "grows": growth(samples), "measures": measures}


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="150 rounds; writes nothing")
    quick = parser.parse_args().quick
    rounds, every = (150, 5) if quick else (10_000, 100)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = {"coordinator": list(coordinator(rounds, every, Path(folder)))}
    found |= peers(rounds, every)
    found |= {f"{name}, local mode": samples for name, samples in peers(rounds, every, local="int8").items()}
    record("growth", {name: figures(samples) for name, samples in found.items()}, quick)


if __name__ == "__main__":
    main()
