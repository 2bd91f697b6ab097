"""From one peer to eight: utilisation, samples per second, and bytes against a ring all-reduce.

python benchmarks/bench_scaling.py [--quick]

Needs root: it runs in the lab (tests/lab), on links of 20 Mbit/s and 40 ms, in local mode with sparse updates after 30
inner steps (H), overlapped, with a Llama of 10.6 M parameters (--quick: 0.2 M, two peers). All peers share this
machine's cores, so samples per second cannot grow beyond them; utilisation shows whether peers wait for each other.

Bytes are those of the updates, for each sample and peer. A ring all-reduce of fp32 gradients sends 8 (n - 1) / n bytes
for each parameter in every optimizer step; local mode sends its payload n - 1 times in H steps, or once over a relay.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.home import LARGE, SMALL, Found, Setting, swarm
from benchmarks.plots import scaling
from benchmarks.results import record
from tests.lab import kernel, lab

LOCAL = Setting(8, LARGE, batch=1, length=32, steps=30, overlap=True, most=420.0)
COUNTS = (1, 2, 4, 8)


def parameters(model: dict[str, int], vocabulary: int = 1024) -> int:
    """Of a Llama of these sizes, its norms, and embeddings that are not tied."""
    hidden, layers = model["hidden_size"], model["num_hidden_layers"]
    layer = 4 * prod((hidden, hidden)) + 3 * hidden * model["intermediate_size"] + 2 * hidden
    return layers * layer + 2 * vocabulary * hidden + hidden


def reductions(setting: Setting, found: Found) -> dict[str, float]:
    """How many times fewer bytes a peer sends than in a ring all-reduce, in the rounds of each way."""
    ring = 8 * (setting.peers - 1) / setting.peers * parameters(setting.model) * setting.steps
    sent = sorted(set(found.sent_in_rounds))
    return {"direct": ring / max(sent), "over a relay": ring / min(sent)} if sent and min(sent) else {}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="two peers, a small model; writes nothing")
    quick = parser.parse_args().quick
    if why := kernel.missing():
        sys.exit(f"Not measured: {why}.")
    base = replace(LOCAL, model=SMALL, steps=100, rounds=1) if quick else LOCAL
    found: dict[int, Found] = {}
    table: dict[str, Any] = {}
    for count in (2,) if quick else COUNTS:
        setting = replace(base, peers=count)
        with tempfile.TemporaryDirectory(prefix="bench-") as name, lab(setting.links) as net:
            found[count] = swarm(net, Path(name) / "run", setting)
        table[f"{count} peers"] = vars(found[count])
        table[f"{count} peers, times fewer bytes than a ring all-reduce"] = reductions(setting, found[count])
        print(f"{count} peers: {found[count]}", flush=True)
    record("scaling", table, quick)
    if not quick:
        scaling(found)


if __name__ == "__main__":
    main()
