"""Gradient mode on loopback: throughput against a plain loop, time outside compute against hivemind.Optimizer.

python benchmarks/bench_gradient.py [--quick]

Three measurements in one run, with the demo's model (about 1.2 M parameters), one thread per process:
- a plain PyTorch loop and a swarm of one peer take turns; the ratio of their samples per second;
- a swarm of three peers; per round, wall time that is not compute (exchange, optimizer, waiting for others);
- three peers of hivemind.Optimizer with its defaults on the same model and batch; the same difference per epoch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
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
rounds = {rounds}
target_batch_size = {batch}
micro_batch_size = 8
[exchange]
compression = "fp16"
[checkpoint]
every_rounds = 1000
"""
SKIPPED = 3  # first rounds: caches, leases, allocators


def swarm_rounds(folder: Path, peers: int, total: int, batch: int) -> tuple[list[list[dict[str, Any]]], Path]:
    """Every peer's rounds of a real swarm, and the folder of its prepared model and data."""
    run = SwarmRun(folder)
    (folder / "corpus.txt").write_text(text(460_000))
    run.spec.write_text(SPEC.format(rounds=total, batch=batch))
    try:
        run.launch()
        joined = [run.join(f"peer-{number}") for number in range(peers)]
        for peer in joined:
            assert peer.finish(600) == 0, peer.stderr
        return [rounds(peer)[SKIPPED:] for peer in joined], folder / "coordinator"
    finally:
        run.clean_up()


def program(name: str, **settings: Any) -> Program:
    return Program([sys.executable, "-m", f"benchmarks.{name}", json.dumps(settings)], OMP_NUM_THREADS="1")


def plain_rate(prepared: Path, steps: int, batch: int) -> float:
    """Samples per second of a plain loop over the same shards."""
    loop = program("plain_peer", prepared=str(prepared), steps=steps, batch=batch)
    assert loop.finish(600) == 0, loop.stderr
    return float(loop.every("done")[0]["samples_per_second"])


def one_peer(total: int, batch: int, repeats: int) -> dict[str, float]:
    """The swarm of one and the plain loop in turn; medians over the repeats."""
    ratios, plain, swarm = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            (own,), prepared = swarm_rounds(Path(folder), 1, total, batch)
            rate = sum(r["samples"] for r in own) / sum(r["seconds"] for r in own)
            base = plain_rate(prepared, total, batch)
        swarm.append(rate)
        plain.append(base)
        ratios.append(rate / base)
    return {
        "one_peer_samples_per_second": statistics.median(swarm),
        "plain_loop_samples_per_second": statistics.median(plain),
        "one_peer_over_plain_loop": statistics.median(ratios),
    }


def outside_compute(total: int, batch: int) -> dict[str, float]:
    """Seconds per round outside compute with three peers: ours, then hivemind.Optimizer's."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ours, prepared = swarm_rounds(Path(folder), 3, total, batch)
        outside = [r["seconds"] - r["compute"] for peer in ours for r in peer]
        theirs = hivemind_outside(prepared, 6 if total < 20 else 9, batch)
    return {
        "outside_compute_seconds_median": statistics.median(outside),
        "outside_compute_seconds_mean": statistics.mean(outside),
        "outside_compute_seconds_worst": max(outside),
        "hivemind_optimizer_outside_compute_seconds_median": statistics.median(theirs),
        "hivemind_optimizer_over_ours": statistics.median(theirs) / statistics.median(outside),
    }


def hivemind_outside(prepared: Path, epochs: int, batch: int) -> list[float]:
    common = {"prepared": str(prepared), "epochs": epochs, "batch": batch, "peers": 3}
    peers = [program("hivemind_peer", **common, seed=0, initial_peers=[])]
    try:
        maddrs = peers[0].named("started", 60)["maddrs"]
        peers += [program("hivemind_peer", **common, seed=seed, initial_peers=maddrs) for seed in (1, 2)]
        for peer in peers:
            peer.finish(600)
        return [e["outside"] for peer in peers for e in peer.every("epoch")[1:] if e["peers"] == 3]
    finally:
        for peer in peers:
            peer.clean_up()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute; writes nothing")
    quick = parser.parse_args().quick
    rounds_one, rounds_three, repeats = (8, 8, 1) if quick else (40, 40, 3)
    figures = {
        **one_peer(rounds_one, 64, repeats),
        **outside_compute(rounds_three, 64 if quick else 96),
    }
    record("gradient", figures, quick)


if __name__ == "__main__":
    main()
