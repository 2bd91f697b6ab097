"""kill -9 of a peer at every named moment: seconds until the others go on, and until it counts again.

python benchmarks/bench_faults.py [--quick]

Three peers on loopback, one thread each; the one that leads the rounds is killed, or another one. Takes about ten
minutes; --quick takes one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from swarm.moments import Moment
from tests.accounts import leave
from tests.swarm_run import swarm_run
from tests.victims import LEADER, MOMENTS, OTHER, Survival, Three

_SLOW = 6.0  # a figure over the limit is a figure, too


def killed(moment: Moment, victim: int) -> Survival:
    """In a swarm of its own."""
    with tempfile.TemporaryDirectory() as folder, swarm_run(Path(folder), rounds=100_000, every=2) as run:
        three = Three(run, victim)
        survived = three.survive(moment, _SLOW)
        leave(three.peers)
        return survived


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one moment, the leader; writes nothing")
    quick = parser.parse_args().quick
    cases: list[tuple[Moment, int]] = [(moment, victim) for moment in MOMENTS for victim in (LEADER, OTHER)]
    cases.remove(("checkpoint", OTHER))  # only the leader makes them
    found = {}
    for moment, victim in [("exchange", LEADER)] if quick else cases:
        who = "leader" if victim == LEADER else "other"
        found[f"{who} at {moment}"] = asdict(killed(moment, victim))
        print(who, moment, found[f"{who} at {moment}"], flush=True)
    worst = {key: max(one[key] for one in found.values()) for key in ("others", "back")}
    record("faults", {"seconds": found, "worst": worst}, quick)


if __name__ == "__main__":
    main()
