"""A real swarm behind home links, measured once all peers train together: what bench_links and bench_scaling share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from tests.harness import Event, Program
from tests.lab import Lab, Link
from tests.lab.swarm import LabRun
from tests.swarm_run import rounds, text

WIDE = 1000.0  # Mbit/s, until all have joined
JOIN_SECONDS = 300.0
LARGE = {"hidden_size": 320, "intermediate_size": 864, "num_hidden_layers": 8, "num_attention_heads": 8}
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SPEC = """
[run]
name = "bench"
[model]
source = "./model"
tokenizer = "bpe:1024"
[data]
source = "corpus.txt"
sequence_length = {length}
[training]
mode = "{mode}"
rounds = 100000
target_batch_size = {target}
micro_batch_size = {batch}
learning_rate = 1e-3
[exchange]
compression = "fp16"
grace_seconds = 5.0
timeout_seconds = 240.0
[checkpoint]
every_rounds = 100000
[evaluation]
every_rounds = 100000
"""
LOCAL = """
[local]
steps = {steps}
batch_size = {batch}
overlap = {overlap}
"""


@dataclass(frozen=True)
class Setting:
    """What a swarm trains, and how. `batch` is what a peer computes for one optimizer step, `length` is in tokens."""

    peers: int
    model: dict[str, int]
    batch: int
    length: int
    steps: int = 1  # inner steps of a round; 1 is gradient mode
    overlap: bool = False
    rate: float = 20.0  # Mbit/s, up and down
    rounds: int = 3  # that are measured
    most: float = 240.0  # seconds that they may take

    @property
    def local(self) -> bool:
        return self.steps > 1

    @property
    def names(self) -> list[str]:
        return [f"peer-{number}" for number in range(self.peers)]

    @property
    def links(self) -> dict[str, Link | None]:
        """10 ms on each way of each link: 40 ms from peer to peer and back. The coordinator has no limit."""
        return {"coordinator": None, **{name: Link(WIDE, WIDE, delay_ms=10.0) for name in self.names}}

    def spec(self) -> str:
        target = self.batch * self.peers * self.steps
        mode = "local" if self.local else "gradient"
        spec = SPEC.format(mode=mode, target=target, batch=self.batch, length=self.length)
        overlap = str(self.overlap).lower()
        return spec + (LOCAL.format(steps=self.steps, batch=self.batch, overlap=overlap) if self.local else "")


@dataclass(frozen=True)
class Found:
    """What a swarm did in the measured rounds."""

    utilisation: float  # compute time over wall time
    samples_per_second: float  # of the swarm
    wire_sent_per_sample: float  # bytes on the link, of a peer for each of its own samples
    wire_received_per_sample: float
    rounds: int
    one_state: bool  # all peers' digests were equal after every round
    sent_in_rounds: tuple[int, ...] = ()  # bytes of updates, of every peer in every round from the first of all on


def make_folder(folder: Path, model: dict[str, int]) -> None:
    """What the run spec names, beside it."""
    (folder / "model").mkdir(parents=True)
    facts = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": False, **model}
    (folder / "model" / "config.json").write_text(json.dumps({**facts, "vocab_size": 1024}))
    (folder / "corpus.txt").write_text(text(460_000))


def swarm(net: Lab, folder: Path, setting: Setting) -> Found:
    """Run it. Raises AssertionError when it does not get so far in time."""
    make_folder(folder, setting.model)
    run = LabRun(net, folder)
    run.spec.write_text(setting.spec())
    try:
        run.launch(120)
        peers = [run.join(name) for name in setting.names]
        all_in: Callable[[Event], bool] = lambda e: e.get("event") == "round" and e["members"] == setting.peers  # noqa: E731
        together = [peer.wait_for(all_in, JOIN_SECONDS)["round"] for peer in peers]
        return _measured(net, setting, peers, max(together) + 2)  # not the round in which the links change
    finally:
        run.clean_up()


def _measured(net: Lab, setting: Setting, peers: Sequence[Program], begin: int) -> Found:
    for name in setting.names:
        net.slow(name, setting.rate, setting.rate)
    end = begin + setting.rounds
    _wait_for_round(peers, begin - 1, setting.most)
    before = [net.bytes(name) for name in setting.names]
    _wait_for_round(peers, end - 1, setting.most)
    after = [net.bytes(name) for name in setting.names]
    for peer in peers:
        peer.interrupt()
    for peer in peers:
        peer.finish(60)
    done = [[event for event in rounds(peer) if begin <= event["round"] < end] for peer in peers]
    samples = sum(event["samples"] for own in done for event in own)
    return Found(
        mean(sum(e["compute"] for e in own) / sum(e["seconds"] for e in own) for own in done),
        samples / mean(sum(e["seconds"] for e in own) for own in done),
        *traffic(before, after, samples),
        len(done[0]),
        _one_state(peers),
        tuple(e["sent"] for peer in peers for e in rounds(peer) if e["members"] == setting.peers),
    )


def _wait_for_round(peers: Sequence[Program], number: int, most: float) -> None:
    wanted: Callable[[Event], bool] = lambda event: event.get("event") == "round" and event["round"] >= number  # noqa: E731
    limit = time.monotonic() + most
    for peer in peers:
        if not any(wanted(event) for event in peer.events):
            peer.wait_for(wanted, limit - time.monotonic())


def _one_state(peers: Sequence[Program]) -> bool:
    held: dict[int, set[str]] = {}
    for peer in peers:
        for event in rounds(peer):
            held.setdefault(event["round"], set()).add(event["digest"])
    return all(len(digests) == 1 for digests in held.values())


def traffic(before: list[tuple[int, int]], after: list[tuple[int, int]], samples: int) -> tuple[float, float]:
    """Bytes on the link of a peer for each of its own samples: sent, received."""
    sent, received = (sum(b[way] - a[way] for a, b in zip(before, after, strict=True)) for way in (0, 1))
    return sent / samples, received / samples
