"""Adapters on a quantised base: memory of a peer against a plain loop, and bytes that travel.

python benchmarks/bench_fine_tune.py [--quick]

In one run, one thread per process, on a base made here (56 million parameters; --quick: 10 million):
- the peak memory of a plain qlora loop (transformers, peft, torch) and of a peer's worker in a swarm of three;
- bytes that a peer sends and receives in a round at fp16, for each trainable parameter;
- the size of a state against the base: what travels after the join.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from tests.swarm_run import SwarmRun, rounds, text
from tests.tiny_base import make_base

SPEC = """
[run]
name = "bench"
[model]
source = "./base"
tokenizer = "model"
method = "qlora"
[data]
source = "corpus.txt"
sequence_length = {length}
[training]
rounds = {rounds}
target_batch_size = 12
micro_batch_size = {micro}
[exchange]
compression = "fp16"
timeout_seconds = 300.0
grace_seconds = 60.0
[checkpoint]
every_rounds = 1000
[evaluation]
every_rounds = 1000
"""
LARGE = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 12}
SMALL = {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 6}
LENGTH, MICRO = 128, 2


class Peaks:
    """The largest memory of each worker so far, by the kernel's own account (VmHWM), bytes."""

    def __init__(self, folders: list[Path]) -> None:
        self.found: dict[str, int] = {}
        self._folders = folders
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            for folder in self._folders:
                with suppress(OSError, ValueError, KeyError, StopIteration):
                    worker = json.loads((folder / "worker.json").read_text())["group"]
                    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
                    self.found[folder.name] = next(int(line.split()[1]) * 1024 for line in lines if "VmHWM" in line)


def swarm(folder: Path, total: int) -> tuple[dict[str, int], list[dict[str, Any]], int]:
    """Peak memory by peer, every peer's rounds of three, and the bytes of the newest state."""
    run = SwarmRun(folder)
    run.spec.write_text(SPEC.format(length=LENGTH, rounds=total, micro=MICRO))
    try:
        run.launch(300)
        names = ["one", "two", "three"]
        with Peaks([folder / name for name in names]) as peaks:
            peers = [run.join(name) for name in names]
            for peer in peers:
                assert peer.finish(900) == 0, peer.stderr
        with run.client() as client:
            size = client.get_run().latest.size
        return peaks.found, [done for peer in peers for done in rounds(peer) if done["members"] == 3], size
    finally:
        run.clean_up()


def plain(folder: Path, steps: int) -> int:
    """Peak memory of the plain loop, bytes."""
    where = ["--base", str(folder / "base"), "--length", str(LENGTH), "--micro-batch", str(MICRO)]
    command = [sys.executable, "-m", "benchmarks.plain_adapters", *where, "--steps", str(steps)]
    root = Path(__file__).parent.parent
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    return int(json.loads(said.stdout.splitlines()[-1])["peak"])


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus.txt").write_text(text(60_000))
        make_base(folder / "base", [text(60_000)], **(SMALL if quick else LARGE))
        alone = plain(folder, 4)
        peaks, done, state = swarm(folder, 3)
        trainable = state // 12  # parameter and two moments, 4 bytes each
        base = sum(path.stat().st_size for path in (folder / "base").glob("*.safetensors"))
    figures = {
        "plain_peak_mb": round(alone / 1e6),
        "peer_peak_mb": round(max(peaks.values()) / 1e6),
        "peak_ratio": round(max(peaks.values()) / alone, 3),
        "trainable_parameters": trainable,
        "sent_bytes_per_parameter_and_round": round(statistics.median(e["sent"] for e in done) / trainable, 3),
        "received_bytes_per_parameter_and_round": round(statistics.median(e["received"] for e in done) / trainable, 3),
        "state_over_base": round(state / base, 4),
        "rounds_of_three": len(done) // 3,
    }
    record("fine_tune", figures, quick)


if __name__ == "__main__":
    main()
