"""How much the simulators get through: a crowd of virtual members, and swarms of the real exchange with random faults.

python benchmarks/bench_simulator.py [crowd] [swarms] [--quick]

10,000 members for 1,000 rounds, all rules checked all the time; then 1,000 swarms of up to seven peers, three virtual
minutes each. Takes about forty minutes of one core; --quick takes one.
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


def of_crowd(members: int, rounds: int) -> dict[str, object]:
    """Every rule checked all the time; a broken one ends it."""
    began, crowd = time.process_time(), Crowd(members, seed=1)
    crowd.run(rounds)
    return {
        "members": members,
        "rounds_tried": rounds,
        "rounds_made": crowd.round,
        "samples_counted": crowd.state.ledger.counted_samples,
        "cpu_minutes": round((time.process_time() - began) / 60, 1),
    }


def of_swarms(count: int) -> dict[str, object]:
    """Up to seven faults each; the seeds of those that broke."""
    began = time.process_time()
    broken = [seed for seed in range(5_000, 5_000 + count) if story(seed).broken()]
    return {"swarms": count, "broken": broken, "cpu_minutes": round((time.process_time() - began) / 60, 1)}


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["crowd", "swarms"], help="crowd, swarms, or both")
    parser.add_argument("--quick", action="store_true", help="a small crowd and ten swarms; writes nothing")
    asked = parser.parse_args()
    if "crowd" in asked.what:
        record("crowd", of_crowd(*((500, 100) if asked.quick else (10_000, 1_000))), asked.quick)
    if "swarms" in asked.what:
        record("swarms", of_swarms(10 if asked.quick else 1_000), asked.quick)


if __name__ == "__main__":
    main()
