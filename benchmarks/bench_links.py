"""Home links: how much of its time a peer trains, and what it sends, against the link's rate.

python benchmarks/bench_links.py [--quick]

Needs root: it runs in the lab (tests/lab), with four peers on links of 10, 20, 50 and 100 Mbit/s up and down, 40 ms
there and back between any two, and a coordinator without a limit. A Llama with 10.6 M parameters, built here; one thread
per process; every system takes an optimizer step each time that every peer has computed `BATCH` samples. Side by side,
in one run:
- ours, local mode: sparse updates after 30 inner steps, with and without overlap;
- ours, gradient mode, fp16;
- stock hivemind.Optimizer, fp16, without and with delayed averaging, with a shorter matchmaking time than its default.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.links_plot import plot
from benchmarks.results import record
from tests.harness import Event, Program
from tests.lab import Lab, Link, kernel, lab
from tests.lab.swarm import LabRun
from tests.swarm_run import rounds, text

PEERS = 4
BATCH = 2  # samples of a peer in one optimizer step
STEPS = 30  # inner steps of a local round
LENGTH = 64  # tokens in a sample
WIDE = 1000.0  # Mbit/s, until all have joined
MODEL = {"hidden_size": 320, "intermediate_size": 864, "num_hidden_layers": 8, "num_attention_heads": 8}
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
class Found:
    """One system on links of one rate."""

    utilisation: float  # compute time over wall time
    samples_per_second: float  # of the swarm
    sent_per_sample: float  # bytes on the wire, of a peer for each of its own samples
    received_per_sample: float
    rounds: int
    one_state: bool  # all peers' digests were equal after every round


@dataclass(frozen=True)
class Plan:
    """How much is measured: rounds of ours and epochs of hivemind's, and for how long at most, seconds."""

    rates: tuple[float, ...]
    local_rounds: int
    steps: int
    synchronous_rounds: int
    most: float


FULL = Plan((10.0, 20.0, 50.0, 100.0), 3, STEPS, 5, 240.0)
QUICK = Plan((20.0,), 1, 3, 1, 60.0)


def names(peers: int = PEERS) -> list[str]:
    return [f"peer-{number}" for number in range(peers)]


def links(peers: int = PEERS) -> dict[str, Link | None]:
    """10 ms on each way of each link: 40 ms from peer to peer and back."""
    return {"coordinator": None, **{name: Link(WIDE, WIDE, delay_ms=10.0) for name in names(peers)}}


def make_folder(folder: Path) -> None:
    """What the run spec names, beside it."""
    (folder / "model").mkdir()
    facts = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": False, **MODEL}
    (folder / "model" / "config.json").write_text(json.dumps({**facts, "vocab_size": 1024}))
    (folder / "corpus.txt").write_text(text(460_000))


def ours(net: Lab, folder: Path, rate: float, mode: str, overlap: bool, plan: Plan) -> Found:
    """A real swarm; measured once all peers train together on their slow links."""
    run = LabRun(net, folder)
    local = mode == "local"
    batch = BATCH * PEERS * (plan.steps if local else 1)
    spec = SPEC.format(mode=mode, target=batch, batch=BATCH, length=LENGTH)
    more = LOCAL.format(steps=plan.steps, batch=BATCH, overlap=str(overlap).lower()) if local else ""
    run.spec.write_text(spec + more)
    try:
        run.launch(120)
        peers = [run.join_on(name) for name in names()]
        together = [peer.wait_for(_all_in, 180)["round"] for peer in peers]
        begin = max(together) + 2  # the round in which the links change is not measured
        end = begin + (plan.local_rounds if local else plan.synchronous_rounds)
        return _measured(net, rate, peers, begin, end, plan.most)
    finally:
        run.clean_up()


def _all_in(event: Event) -> bool:
    return event.get("event") == "round" and event["members"] == PEERS


def _measured(net: Lab, rate: float, peers: list[Program], begin: int, end: int, most: float) -> Found:
    for name in names():
        net.slow(name, rate, rate)
    _wait_for_round(peers, begin - 1, most)
    before, started = [net.bytes(name) for name in names()], time.monotonic()
    _wait_for_round(peers, end - 1, most)
    after, lasted = [net.bytes(name) for name in names()], time.monotonic() - started
    for peer in peers:
        peer.interrupt()
    for peer in peers:
        peer.finish(60)
    done = [[event for event in rounds(peer) if begin <= event["round"] < end] for peer in peers]
    samples = sum(event["samples"] for own in done for event in own)
    return Found(
        mean(sum(e["compute"] for e in own) / sum(e["seconds"] for e in own) for own in done if own),
        samples / mean(sum(e["seconds"] for e in own) for own in done if own),
        *_traffic(before, after, samples),
        len(done[0]),
        _one_state(peers),
    )


def _wait_for_round(peers: list[Program], number: int, most: float) -> None:
    limit = time.monotonic() + most
    for peer in peers:
        wanted: Callable[[Event], bool] = lambda e: e.get("event") == "round" and e["round"] >= number  # noqa: E731
        if not any(wanted(event) for event in peer.events):
            peer.wait_for(wanted, limit - time.monotonic())


def _one_state(peers: list[Program]) -> bool:
    held: dict[int, set[str]] = {}
    for peer in peers:
        for event in rounds(peer):
            held.setdefault(event["round"], set()).add(event["digest"])
    return all(len(digests) == 1 for digests in held.values())


def _traffic(before: list[tuple[int, int]], after: list[tuple[int, int]], samples: int) -> tuple[float, float]:
    """Bytes of a peer for each of its own samples: sent, received."""
    sent, received = (sum(b[way] - a[way] for a, b in zip(before, after, strict=True)) for way in (0, 1))
    return sent / samples, received / samples


def stock(net: Lab, prepared: Path, rate: float, delayed: bool, plan: Plan) -> Found:
    """hivemind.Optimizer on the same model, data and batch."""
    settings = {
        "prepared": str(prepared),
        "epochs": 2 + plan.synchronous_rounds,
        "batch": BATCH * PEERS,
        "micro": BATCH,
        "peers": PEERS,
        "fp16": True,
        "delayed": delayed,
        "host": "0.0.0.0",
        "options": {"matchmaking_time": 3.0, "averaging_timeout": 300.0},
    }
    for name in names():
        net.slow(name, rate, rate)
    peers: list[Program] = []
    try:
        for seed, name in enumerate(names()):
            known = (
                peers[0].named("started", 60)["maddrs"] if peers and seed == 1 else settings.get("initial_peers", [])
            )
            settings["initial_peers"] = [address for address in known if "/127." not in address]
            command = [sys.executable, "-m", "benchmarks.hivemind_peer", json.dumps({**settings, "seed": seed})]
            peers.append(Program(net.command(name, command), OMP_NUM_THREADS="1"))
        return _stock_measured(net, peers, plan)
    finally:
        for peer in peers:
            peer.clean_up()


def _stock_measured(net: Lab, peers: list[Program], plan: Plan) -> Found:
    limit = time.monotonic() + plan.most
    for peer in peers:
        peer.named("epoch", limit - time.monotonic())
        peer.named("epoch", limit - time.monotonic())
    before = [net.bytes(name) for name in names()]
    done: list[list[Event]] = [[] for _ in peers]
    for own, peer in zip(done, peers, strict=True):
        while len(own) < plan.synchronous_rounds and (left := limit - time.monotonic()) > 0:
            own.append(peer.named("epoch", left))
    after = [net.bytes(name) for name in names()]
    samples = sum(event["samples"] for own in done for event in own)
    walls = [sum(event["compute"] + event["outside"] for event in own) for own in done]
    return Found(
        mean(sum(event["compute"] for event in own) / wall for own, wall in zip(done, walls, strict=True)),
        samples / mean(walls),
        *_traffic(before, after, samples),
        len(done[0]),
        False,  # it proves nothing of the kind
    )


def measure(rate: float, plan: Plan) -> dict[str, Found | str]:
    """Every system on links of one rate; why there is no figure where there is none."""
    systems: dict[str, Callable[[Lab, Path], Found]] = {
        "local": lambda net, folder: ours(net, folder, rate, "local", True, plan),
        "local, waiting": lambda net, folder: ours(net, folder, rate, "local", False, plan),
        "gradient fp16": lambda net, folder: ours(net, folder, rate, "gradient", False, plan),
        "hivemind fp16": lambda net, folder: stock(net, folder / "coordinator", rate, False, plan),
        "hivemind fp16, delayed": lambda net, folder: stock(net, folder / "coordinator", rate, True, plan),
    }
    found: dict[str, Found | str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        make_folder(Path(name))
        for system, run in systems.items():
            with lab(links()) as net:
                try:
                    found[system] = run(net, Path(name))
                except AssertionError as error:
                    found[system] = f"no figure within {plan.most:g} s: {str(error)[:200]}"
            print(f"{rate:g} Mbit/s, {system}: {found[system]}", flush=True)
    return found


def figures(found: dict[float, dict[str, Found | str]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for rate, systems in found.items():
        for system, result in systems.items():
            key = f"{rate:g} Mbit/s, {system}"
            table[key] = result if isinstance(result, str) else vars(result)
        ours_, theirs = systems["local"], systems["hivemind fp16"]
        if isinstance(ours_, Found) and isinstance(theirs, Found):
            ratio = ours_.samples_per_second / theirs.samples_per_second
            table[f"{rate:g} Mbit/s, local over hivemind, samples per second"] = ratio
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one rate, few steps; writes nothing")
    quick = parser.parse_args().quick
    if why := kernel.missing():
        sys.exit(f"Not measured: {why}.")
    plan = QUICK if quick else FULL
    found = {rate: measure(rate, plan) for rate in plan.rates}
    record("links", figures(found), quick)
    if not quick:
        plot(found)


if __name__ == "__main__":
    main()
