"""Home links: how much of its time a peer trains, and what it sends, against the link's rate.

python benchmarks/bench_links.py [--quick]

Needs root: it runs in the lab (tests/lab), with four peers on links of 10, 20, 50 and 100 Mbit/s up and down, 40 ms
there and back between any two, and a coordinator without a limit. A Llama with 10.6 M parameters, built here (--quick:
0.2 M, and ours alone); one thread per process; every system takes an optimizer step each time that every peer has
computed `BATCH` samples. Side by side, in one run:
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
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.home import LARGE, SMALL, Found, Setting, swarm, traffic
from benchmarks.plots import links
from benchmarks.results import record
from tests.harness import Program
from tests.lab import Lab, kernel, lab

PEERS, BATCH, LENGTH = 4, 2, 64
LOCAL = Setting(PEERS, LARGE, BATCH, LENGTH, steps=30, overlap=True, rounds=2)
GRADIENT = Setting(PEERS, LARGE, BATCH, LENGTH, rounds=3)
_START_SECONDS = 30.0  # until every process of hivemind's is there
_WINDOW_SECONDS = 75.0  # in which hivemind's epochs are measured


@dataclass(frozen=True)
class Plan:
    """Which systems, by their settings; hivemind's by whether averaging is delayed."""

    rates: tuple[float, ...]
    ours: dict[str, Setting]
    theirs: dict[str, bool]


FULL = Plan(
    (10.0, 20.0, 50.0, 100.0),
    {"local": LOCAL, "local, waiting": replace(LOCAL, overlap=False), "gradient fp16": GRADIENT},
    {"hivemind fp16": False, "hivemind fp16, delayed": True},
)
QUICK = Plan((20.0,), {"local": replace(LOCAL, model=SMALL, steps=100, rounds=1)}, {})


def stock(net: Lab, prepared: Path, rate: float, delayed: bool) -> Found:
    """hivemind.Optimizer on the same model, data and batch."""
    settings = {
        "prepared": str(prepared),
        "epochs": 100_000,
        "batch": BATCH * PEERS,
        "micro": BATCH,
        "peers": PEERS,
        "fp16": True,
        "delayed": delayed,
        "host": "0.0.0.0",
        "start_at": time.time() + _START_SECONDS,
        "patience": 0.0,  # they meet while they train
        "options": {"matchmaking_time": 5.0, "averaging_timeout": 300.0},
    }
    for name in LOCAL.names:
        net.slow(name, rate, rate)
    peers: list[Program] = []
    try:
        for seed, name in enumerate(LOCAL.names):
            known = peers[0].named("started", 60)["maddrs"] if seed == 1 else settings.get("initial_peers", [])
            settings["initial_peers"] = [address for address in known if "/127." not in address]
            command = [sys.executable, "-m", "benchmarks.hivemind_peer", json.dumps({**settings, "seed": seed})]
            peers.append(Program(net.command(name, command), OMP_NUM_THREADS="1"))
        return _stock_measured(net, peers)
    finally:
        for peer in peers:
            peer.clean_up()


def _stock_measured(net: Lab, peers: list[Program]) -> Found:
    """For a while, from when each has seen others; what each did alone before proves nothing."""
    limit = time.monotonic() + LOCAL.most
    for peer in peers:
        peer.wait_for(lambda event: event.get("event") == "epoch" and event["peers"] > 1, limit - time.monotonic())
    known = [len(peer.every("epoch")) for peer in peers]
    before, end = [net.bytes(name) for name in LOCAL.names], time.monotonic() + _WINDOW_SECONDS
    for peer in peers:
        _listen(peer, end)
    after = [net.bytes(name) for name in LOCAL.names]
    done = [peer.every("epoch")[begin:] for peer, begin in zip(peers, known, strict=True)]
    samples = sum(event["samples"] for own in done for event in own)
    return Found(
        mean(sum(event["compute"] for event in own) / _WINDOW_SECONDS for own in done),
        samples / _WINDOW_SECONDS,
        *traffic(before, after, max(samples, 1)),
        max(len(own) for own in done),
        False,  # it proves nothing of the kind
    )


def _listen(peer: Program, end: float) -> None:
    """Hear what a peer says until `end`."""
    with suppress(AssertionError):
        while True:
            peer.wait_for(lambda _: True, max(0.01, end - time.monotonic()))


def measure(rate: float, plan: Plan) -> dict[str, Found | str]:
    """Every system on links of one rate; why there is no figure where there is none."""
    found: dict[str, Found | str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for system, setting in plan.ours.items():
            run = replace(setting, rate=rate)
            found[system] = _tried(run, lambda net, run=run, to=Path(name) / system: swarm(net, to, run))
            print(f"{rate:g} Mbit/s, {system}: {found[system]}", flush=True)
        prepared = Path(name) / "local" / "coordinator"
        for system, delayed in plan.theirs.items():
            found[system] = _tried(LOCAL, lambda net, delayed=delayed: stock(net, prepared, rate, delayed))
            print(f"{rate:g} Mbit/s, {system}: {found[system]}", flush=True)
    return found


def _tried(setting: Setting, run: Callable[[Lab], Found]) -> Found | str:
    with lab(setting.links) as net:
        try:
            return run(net)
        except AssertionError as error:
            return f"no figure within {setting.most:g} s: {str(error)[:300]}"


def figures(found: dict[float, dict[str, Found | str]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for rate, systems in found.items():
        for system, result in systems.items():
            shown = result if isinstance(result, str) else {**vars(result)}
            if isinstance(shown, dict):
                shown.pop("sent_in_rounds")
            table[f"{rate:g} Mbit/s, {system}"] = shown
        ours, theirs = systems["local"], systems.get("hivemind fp16")
        if isinstance(ours, Found) and isinstance(theirs, Found):
            ratio = ours.samples_per_second / theirs.samples_per_second
            table[f"{rate:g} Mbit/s, local over hivemind, samples per second"] = ratio
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one rate, a small model; writes nothing")
    quick = parser.parse_args().quick
    if why := kernel.missing():
        sys.exit(f"Not measured: {why}.")
    plan = QUICK if quick else FULL
    found = {rate: measure(rate, plan) for rate in sorted(plan.rates)}
    record("links", figures(found), quick)
    if not quick:
        links(found)


if __name__ == "__main__":
    main()
