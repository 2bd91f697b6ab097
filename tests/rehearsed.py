"""Small real swarms that a rehearsal foretells: for its tests and its benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from swarm.cli.rehearsal.plan import Swarm
from tests.harness import Program
from tests.swarm_run import SwarmRun, rounds

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
    """Of a swarm's rounds, foretold or measured. Bytes of a peer in a round; `rate` is a peer's speed in samples per
    second while it computes.
    """

    rounds_per_hour: float
    utilisation: float
    sent: float
    received: float
    rate: float


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
        sum(event["samples"] for event in done) / sum(event["compute"] for event in done),
    )
