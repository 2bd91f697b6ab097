"""One peer of stock hivemind.Optimizer with its defaults; prints the time outside compute of each epoch."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import hivemind
import psutil
import torch

from peer.data import Batches
from peer.model import load_model, loss_sum
from peer.processes import kill
from swarm.ranges import Layout, Range
from swarm.runspec import load
from tests.reference import torch_adamw

MICRO = 8


def seen(optimizer: hivemind.Optimizer) -> int:
    """How many peers the optimizer's own tracker knows."""
    return int(optimizer.tracker.global_progress.num_peers)


def main() -> None:
    settings = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    prepared = Path(settings["prepared"])
    artefacts = json.loads((prepared / "artefacts.json").read_text())
    digests = tuple(shard["sha256"] for shard in artefacts["shards"])
    facts = artefacts["layout"]
    layout = Layout(tuple(facts["shard_samples"]), facts["sequence_length"], facts["seed"])
    batches = Batches(layout, digests, lambda index: prepared / "blobs" / digests[index])
    dht = hivemind.DHT(start=True, initial_peers=settings["initial_peers"] or None)
    print(json.dumps({"event": "started", "maddrs": [str(a) for a in dht.get_visible_maddrs()]}), flush=True)
    model = load_model(prepared / "model")
    optimizer = hivemind.Optimizer(
        dht=dht,
        run_id="bench",
        target_batch_size=settings["batch"],
        batch_size_per_step=MICRO,
        optimizer=torch_adamw(list(model.parameters()), load(prepared / "run.toml").training),
        client_mode=dht.client_mode,  # left out, the first epoch's end raises
    )
    end = time.monotonic() + 30
    while seen(optimizer) < settings["peers"] and time.monotonic() < end:
        optimizer.tracker.report_local_progress(local_epoch=0, samples_accumulated=0)
        time.sleep(0.2)
    position, epoch, compute, begun = settings["seed"] * 1_000_000, 0, 0.0, time.perf_counter()
    while epoch < settings["epochs"]:
        samples = batches.load(Range(position, position + MICRO))
        position += MICRO
        started = time.perf_counter()
        (loss_sum(model, samples, layout.sequence_length) / MICRO).backward()
        compute += time.perf_counter() - started
        optimizer.step()
        optimizer.zero_grad()
        if optimizer.local_epoch != epoch:
            now = time.perf_counter()
            outside = now - begun - compute
            facts = {"epoch": epoch, "outside": outside, "compute": compute, "peers": seen(optimizer)}
            print(json.dumps({"event": "epoch", **facts}), flush=True)
            epoch, compute, begun = optimizer.local_epoch, 0.0, now
    time.sleep(3)  # others may still need this peer
    kill(psutil.Process().children(recursive=True))
    os._exit(0)


if __name__ == "__main__":
    main()
