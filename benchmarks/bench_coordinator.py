"""How long the coordinator's rules take for one event, with few and with many members; nothing is written to disk.

python benchmarks/bench_coordinator.py [--quick]

Microseconds for a join, a lease, a heartbeat and a report, each the mean over at most 2,000 of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from coordinator import events as e
from coordinator.ledger import Claim, Ledger
from coordinator.records import Checkpoint, Metrics, Pulse, RoundReport, Terms
from coordinator.state import State
from coordinator.tick import tick

_SAMPLES = 8
_MOST = 2_000


class Run:
    """One run with so many members."""

    def __init__(self, members: int) -> None:
        terms = Terms("bench", 1000, _SAMPLES * members, 1 << 40)
        start = Checkpoint(0, "start", "0" * 64, 1, 0)
        self.state = State(terms=terms, ledger=Ledger(terms.epoch_samples), checkpoints={0: start})
        self.names = [f"m{number}" for number in range(members)]

    def microseconds(self, names: Sequence[str], event: Callable[[str], e.Event]) -> float:
        """For each event, one tick each."""
        began = time.perf_counter()
        for name in names:
            self.state, _ = tick(self.state, [event(name)], 1.0, 1)
        return round((time.perf_counter() - began) / len(names) * 1e6, 1)

    def report(self, name: str) -> e.Event:
        """Of round 0, with the member's lease in it."""
        [lease] = self.state.ledger.held_by(name)
        metrics = Metrics("d1", 0, 0, len(self.names), _SAMPLES, 1.0, 1, 1, 1, 1, 1)
        return e.Report(name, (RoundReport(f"k{name}", 0, metrics, (Claim(lease.id, lease.range),)),))


def figures(members: int) -> dict[str, float]:
    """Microseconds for each kind of event."""
    run, some = Run(members), slice(0, _MOST)
    return {
        "join": run.microseconds(run.names, lambda name: e.Join(name, b"k" * 32, name, "1")),
        "lease": run.microseconds(run.names[some], lambda name: e.TakeLease(name, _SAMPLES)),
        "heartbeat": run.microseconds(run.names[some], lambda name: e.Heartbeat(name, Pulse(samples_per_second=3.0))),
        "report": run.microseconds(run.names[some], run.report),
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer members; writes nothing")
    quick = parser.parse_args().quick
    sizes = (10, 1_000) if quick else (10, 1_000, 10_000)
    record("coordinator", {f"microseconds_with_{size}_members": figures(size) for size in sizes}, quick)


if __name__ == "__main__":
    main()
