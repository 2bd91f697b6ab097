"""A plain PyTorch loop over prepared shards, without any swarm; prints its samples per second."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from peer.data import Batches
from peer.model import load_model, loss_sum
from swarm.ranges import Layout, Range
from swarm.runspec import load
from tests.reference import torch_adamw

SKIPPED = 3


def main() -> None:
    settings = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    prepared, batch = Path(settings["prepared"]), settings["batch"]
    artefacts = json.loads((prepared / "artefacts.json").read_text())
    digests = tuple(shard["sha256"] for shard in artefacts["shards"])
    facts = artefacts["layout"]
    layout = Layout(tuple(facts["shard_samples"]), facts["sequence_length"], facts["seed"])
    batches = Batches(layout, digests, lambda index: prepared / "blobs" / digests[index])
    model = load_model(prepared / "model")
    training = load(prepared / "run.toml").training
    optimizer = torch_adamw(list(model.parameters()), training)
    started = 0.0
    for step in range(settings["steps"]):
        if step == SKIPPED:
            started = time.perf_counter()
        for begin in range(step * batch, (step + 1) * batch, training.micro_batch_size):
            samples = batches.load(Range(begin, begin + training.micro_batch_size))
            (loss_sum(model, samples, layout.sequence_length) / batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
    rate = (settings["steps"] - SKIPPED) * batch / (time.perf_counter() - started)
    print(json.dumps({"event": "done", "samples_per_second": rate}), flush=True)


if __name__ == "__main__":
    main()
