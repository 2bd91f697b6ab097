"""kill -9 of the coordinator at random moments, again and again: what was acknowledged, and is lost or counted twice.

python benchmarks/bench_kills.py [--quick] [--seed N]

Three volunteers lease, report, and report again over gRPC on loopback; the coordinator writes SQLite on this disk.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from tests.faults import drawn
from tests.killed_coordinator import Server, killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 kills instead of 50")
    parser.add_argument("--seed", type=int, help="of an earlier run, to see it again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.prepare()
        outcome = killed(server, 5 if options.quick else 50, drawn(options.seed))
    record("kills", asdict(outcome), options.quick)


if __name__ == "__main__":
    main()
