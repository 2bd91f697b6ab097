"""How much the simulators get through: a crowd of virtual members, and swarms of the real exchange with random faults.

python benchmarks/bench_simulator.py [--quick]

10,000 members for 1,000 rounds, all rules checked all the time; then 1,000 swarms of up to seven peers, three virtual
minutes each. Takes about forty minutes; --quick takes one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from tests.simulator.crowd import Crowd
from tests.simulator.search import story


def main() -> None:
    """Simulate and record; a broken rule ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a small crowd and ten swarms; writes nothing")
    quick = parser.parse_args().quick
    members, rounds, swarms = (500, 100, 10) if quick else (10_000, 1_000, 1_000)
    began = time.monotonic()
    crowd = Crowd(members, seed=1)
    crowd.run(rounds)
    crowd_seconds, began = time.monotonic() - began, time.monotonic()
    broken = [seed for seed in range(5_000, 5_000 + swarms) if story(seed).broken()]
    figures = {
        "members": members,
        "rounds_tried": rounds,
        "rounds_made": crowd.round,
        "samples_counted": crowd.state.ledger.counted_samples,
        "crowd_seconds": round(crowd_seconds),
        "swarms": swarms,
        "swarms_broken": broken,
        "swarms_seconds": round(time.monotonic() - began),
    }
    record("simulator", figures, quick)


if __name__ == "__main__":
    main()
