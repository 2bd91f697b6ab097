"""What a rehearsal foretells against what real swarms do: `swarm launch --dry-run` beside small runs on loopback.

python benchmarks/bench_rehearsal.py [--quick] [--cases "gradient, 2 peers" …]

The demo's model (about 1.1 M parameters), one thread per process, in gradient mode, in local mode, and in local mode
with overlap. A peer's speed is measured as the command measures it, but in as many processes at once as there were
peers, because they share this machine's cores; after the run, so others may have them meanwhile. All else is foretold:
rounds an hour, the part of the time in which peers compute, a peer's bytes in a round. And once more with the speed at
which the peers of the run itself computed: so far as the rehearsal's model goes, without what a machine that does other
things makes of a short measurement.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import earlier, record
from swarm.cli.planning import Place, plan_of
from swarm.cli.rehearsal.plan import Plan, Speed
from swarm.cli.rehearsal.rehearse import rehearse
from tests.harness import Program
from tests.rehearsed import LOOPBACK, Case, Found, real
from tests.swarm_run import SwarmRun, text

CASES = {
    "gradient, 2 peers": Case(2, 24),
    "local, 2 peers": Case(2, 12, steps=10),
    "local, 3 peers, overlap": Case(3, 12, steps=10, overlap=True),
}
QUICK = {"gradient, 2 peers": Case(2, 12)}


def compare(case: Case) -> dict[str, Any]:
    """One real swarm, and its rehearsal."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        run = SwarmRun(Path(name))
        (run.folder / "corpus.txt").write_text(text(460_000))
        run.spec.write_text(case.spec())
        place = Place(run.spec, run.folder / run.home)
        measured = real(run, case)
        plan, paces = plan_of(place, replace(LOOPBACK, peers=case.peers), rate=1.0), speeds(place, case.peers)
        found, same_speed = foretold(plan, paces), foretold(plan, paces, measured.rate)
    return {
        "measured": vars(measured),
        "foretold": vars(found),
        "foretold over measured": over(found, measured),
        "foretold over measured, with the run's own speed": over(same_speed, measured),
    }


def over(found: Found, measured: Found) -> dict[str, float]:
    """What was foretold as a part of what was measured."""
    return {key: getattr(found, key) / value for key, value in vars(measured).items()}


def speeds(place: Place, count: int) -> list[dict[str, Any]]:
    """As `peer.sizing` says it, in so many processes at once."""
    where = ["--spec", str(place.spec), "--folder", str(place.folder), "--threads", "1"]
    command = [sys.executable, "-m", "peer.sizing", *where, "--measure"]
    measuring = [Program(command, OMP_NUM_THREADS="1") for _ in range(count)]
    try:
        for program in measuring:
            assert program.finish(300) == 0, program.stderr
        return [next(event["pace"] for event in program.events if "pace" in event) for program in measuring]
    finally:
        for program in measuring:
            program.clean_up()


def foretold(plan: Plan, paces: Sequence[dict[str, Any]], rate: float = 0.0) -> Found:
    """The rehearsal with the mean of what was measured of this machine, or with peers of another speed."""
    mean = {key: statistics.mean(pace[key] for pace in paces) for key in ("rate", "settle", "merge")}
    mean["rate"] = rate or mean["rate"]
    micro_batch = round(statistics.median(pace["micro_batch"] for pace in paces))
    figures = rehearse(replace(plan, speed=Speed(micro_batch=micro_batch, **mean))).figures
    names = ("rounds_per_hour", "utilisation", "sent_per_round", "received_per_round")
    return Found(*(figures[name].value for name in names), mean["rate"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="two peers, few rounds; writes nothing")
    parser.add_argument("--cases", nargs="*", default=list(CASES), help="some of them; the others' figures are kept")
    options = parser.parse_args()
    quick, cases = options.quick, QUICK if options.quick else {name: CASES[name] for name in options.cases}
    table = earlier("rehearsal") if cases.keys() < CASES.keys() else {}
    for name, case in cases.items():
        table[name] = compare(case)
        print(f"{name}: {table[name]['foretold over measured']}", flush=True)
    record("rehearsal", table, quick)


if __name__ == "__main__":
    main()
