"""What a rehearsal foretells against what real swarms do: `swarm launch --dry-run` beside small runs on loopback.

python benchmarks/bench_rehearsal.py [--quick]

The demo's model (about 1.1 M parameters), one thread per process, in gradient mode, in local mode, and in local mode
with overlap. A peer's speed is measured as the command measures it, but in as many processes at once as there will be
peers, because they share this machine's cores; once before the run and once after it, because others may share them,
too. All else is foretold: rounds an hour, the part of the time in which peers compute, a peer's bytes in a round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from swarm.cli.rehearsal.gather import Place, plan_of
from swarm.cli.rehearsal.plan import Plan, Speed, Swarm
from swarm.cli.rehearsal.rehearse import rehearse
from tests.harness import Program
from tests.swarm_run import SwarmRun, rounds, text

SPEC = """
[run]
name = "bench"
[model]
source = "preset:tiny-llama"
tokenizer = "bpe:1024"
[data]
source = "corpus.txt"
sequence_length = 128
[training]
mode = "{mode}"
rounds = {rounds}
target_batch_size = {batch}
micro_batch_size = 8
[exchange]
compression = "fp16"
[checkpoint]
every_rounds = 1000
[evaluation]
every_rounds = 1000
"""
LOCAL = """
[local]
steps = {steps}
batch_size = 8
overlap = {overlap}
"""
SKIPPED = 3  # first rounds: caches, leases, allocators
LAST = 1  # a peer that ends first leaves the others alone
LOOPBACK = Swarm(uplink=8000.0, downlink=8000.0, latency=0.002, churn=0.0, spread=0.0, link_spread=0.0, slow=0.0)


@dataclass(frozen=True)
class Case:
    """A swarm of so many peers; `steps` 1 is gradient mode, with so many batches of a peer in a round."""

    peers: int
    rounds: int
    steps: int = 1
    batches: int = 4
    overlap: bool = False

    def spec(self) -> str:
        local = self.steps > 1
        batch = 8 * self.peers * (self.steps if local else self.batches)
        spec = SPEC.format(mode="local" if local else "gradient", rounds=self.rounds, batch=batch)
        return spec + LOCAL.format(steps=self.steps, overlap=str(self.overlap).lower()) if local else spec


@dataclass(frozen=True)
class Found:
    """Of a swarm's rounds, foretold or measured. Bytes of a peer in a round."""

    rounds_per_hour: float
    utilisation: float
    sent: float
    received: float


CASES = {
    "gradient, 2 peers": Case(2, 40),
    "gradient, 3 peers": Case(3, 40),
    "local, 2 peers": Case(2, 14, steps=15),
    "local, 3 peers, overlap": Case(3, 14, steps=15, overlap=True),
}
QUICK = {"gradient, 2 peers": Case(2, 12), "local, 2 peers": Case(2, 7, steps=8)}


def compare(case: Case) -> dict[str, Any]:
    """One real swarm, and its rehearsal."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        run = SwarmRun(Path(name))
        (run.folder / "corpus.txt").write_text(text(460_000))
        run.spec.write_text(case.spec())
        place = Place(run.spec, run.folder / run.home)
        before = speeds(place, case.peers)
        measured = real(run, case)
        plan = plan_of(place, replace(LOOPBACK, peers=case.peers), rate=1.0)
        found = foretold(plan, [*before, *speeds(place, case.peers)])
    ratios = {key: getattr(found, key) / value for key, value in vars(measured).items()}
    return {"measured": vars(measured), "foretold": vars(found), "foretold over measured": ratios}


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


def foretold(plan: Plan, paces: Sequence[dict[str, Any]]) -> Found:
    """The rehearsal with the mean of what was measured of this machine."""
    mean = {key: statistics.mean(pace[key] for pace in paces) for key in ("rate", "settle", "merge")}
    micro_batch = round(statistics.median(pace["micro_batch"] for pace in paces))
    figures = rehearse(replace(plan, speed=Speed(micro_batch=micro_batch, **mean))).figures
    names = ("rounds_per_hour", "utilisation", "sent_per_round", "received_per_round")
    return Found(*(figures[name].value for name in names))


def real(run: SwarmRun, case: Case) -> Found:
    """What the peers say of their rounds."""
    try:
        run.launch(120)
        joined = [run.join(f"peer-{number}") for number in range(case.peers)]
        for peer in joined:
            assert peer.finish(600) == 0, peer.stderr
        return measured_of([event for peer in joined for event in together(peer, case.peers)])
    finally:
        run.clean_up()


def together(peer: Program, members: int) -> list[dict[str, Any]]:
    """The rounds that all made, without the first and last ones."""
    return [event for event in rounds(peer) if event["members"] == members][SKIPPED:-LAST]


def measured_of(done: Sequence[dict[str, Any]]) -> Found:
    """Of rounds that were made, of all peers."""
    seconds = sum(event["seconds"] for event in done)
    return Found(
        3600 * len(done) / seconds,
        sum(event["compute"] for event in done) / seconds,
        statistics.mean(event["sent"] for event in done),
        statistics.mean(event["received"] for event in done),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="two peers, few rounds; writes nothing")
    quick = parser.parse_args().quick
    table = {}
    for name, case in (QUICK if quick else CASES).items():
        table[name] = compare(case)
        print(f"{name}: {table[name]['foretold over measured']}", flush=True)
    record("rehearsal", table, quick)


if __name__ == "__main__":
    main()
