"""One peer of stock hivemind.Optimizer; prints the time outside compute of each epoch.

With its defaults, or with what the settings say: "options" of the optimizer, "fp16" averaging, "delayed" averaging.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import hivemind
import psutil
import torch
from hivemind.compression import Float16Compression

from peer.data import Batches
from peer.model import load_model, loss_sum
from peer.processes import kill
from swarm.ranges import Layout, Range
from swarm.runspec import load
from swarm.sections import Training
from tests.reference import torch_adamw


def options(settings: dict[str, Any], parameters: list[torch.nn.Parameter], training: Training) -> dict[str, Any]:
    """What the optimizer is told besides its defaults."""
    fp16 = Float16Compression() if settings.get("fp16") else hivemind.NoCompression()
    delayed = {
        "params": parameters,
        "optimizer": lambda groups: torch.optim.AdamW(groups, lr=training.learning_rate),
        "offload_optimizer": True,
        "delay_grad_averaging": True,
        "delay_optimizer_step": True,
    }
    return {
        "grad_compression": fp16,
        "state_averaging_compression": fp16,
        **(delayed if settings.get("delayed") else {"optimizer": torch_adamw(parameters, training)}),
        **settings.get("options", {}),
    }


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
    micro = settings.get("micro", 8)
    host = settings.get("host", "127.0.0.1")
    dht = hivemind.DHT(start=True, initial_peers=settings["initial_peers"] or None, host_maddrs=[f"/ip4/{host}/tcp/0"])
    print(json.dumps({"event": "started", "maddrs": [str(a) for a in dht.get_visible_maddrs()]}), flush=True)
    model = load_model(prepared / "model")
    optimizer = hivemind.Optimizer(
        dht=dht,
        run_id="bench",
        target_batch_size=settings["batch"],
        batch_size_per_step=micro,
        client_mode=dht.client_mode,  # left out, the first epoch's end raises
        **options(settings, list(model.parameters()), load(prepared / "run.toml").training),
    )
    time.sleep(max(0.0, settings.get("start_at", 0.0) - time.time()))
    end = time.monotonic() + settings.get("patience", 30.0)
    while seen(optimizer) < settings["peers"] and time.monotonic() < end:
        optimizer.tracker.report_local_progress(local_epoch=0, samples_accumulated=0)
        time.sleep(0.2)
    position = counted = settings["seed"] * 1_000_000
    epoch, compute, begun = 0, 0.0, time.perf_counter()
    while epoch < settings["epochs"]:
        samples = batches.load(Range(position, position + micro))
        position += micro
        started = time.perf_counter()
        (loss_sum(model, samples, layout.sequence_length) / micro).backward()
        compute += time.perf_counter() - started
        optimizer.step()
        optimizer.zero_grad()
        if optimizer.local_epoch != epoch:
            now = time.perf_counter()
            outside = now - begun - compute
            facts = {"epoch": epoch, "outside": outside, "compute": compute, "peers": seen(optimizer)}
            print(json.dumps({"event": "epoch", "samples": position - counted, **facts}), flush=True)
            epoch, compute, begun, counted = optimizer.local_epoch, 0.0, now, position
    time.sleep(3)  # others may still need this peer
    kill(psutil.Process().children(recursive=True))
    os._exit(0)


if __name__ == "__main__":
    main()
