"""The codecs of local mode, and combining what they wrote: one thread, a model of ten million parameters.

python benchmarks/bench_codec.py [--quick]

- each codec's encode and decode in GB of fp32 parameters per second of processor time (median of repeats);
- processor time, in seconds, to make one update of the payloads of eight peers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks.results import record
from peer.codecs import Codec, Floats, Shapes, codec_of, decode, encode, payload_size
from peer.merge import Contribution, merge
from peer.model import PRESETS, trainable
from swarm.sections import Local

PEERS = 8
CODECS = {name: codec_of(Local(codec=name)) for name in ("sparse", "int8", "fp16")}


def config() -> LlamaConfig:
    """The preset llama-10m with 1024 tokens."""
    return LlamaConfig(**PRESETS["llama-10m"], vocab_size=1024, tie_word_embeddings=True)


def model_shapes() -> dict[str, tuple[int, ...]]:
    """The model's, tied weights once."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config())
    return {name: tuple(parameter.shape) for name, parameter in trainable(model).items()}


def update(shapes: Shapes, seed: int) -> dict[str, Floats]:
    """Of the size that a round's updates have; normally distributed."""
    draw = np.random.default_rng(seed)
    return {name: draw.standard_normal(shape, np.float32) * np.float32(1e-3) for name, shape in shapes.items()}


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median processor time; the first call, which takes memory from the system, is not counted."""
    call()
    found = []
    for _ in range(repeats):
        begun = time.thread_time()
        call()
        found.append(time.thread_time() - begun)
    return statistics.median(found)


def measured(codec: Codec, shapes: Shapes, repeats: int) -> dict[str, float]:
    """What one codec gives."""
    updates = [update(shapes, seed) for seed in range(PEERS)]
    payloads = [encode(codec, one) for one in updates]
    sent = [Contribution(100, payload) for payload in payloads]
    gigabytes = 4e-9 * sum(prod(shape) for shape in shapes.values())

    def read() -> None:
        for _ in decode(codec, payloads[0], shapes):
            pass

    return {
        "encode_gb_per_second": round(gigabytes / seconds(lambda: encode(codec, updates[0]), repeats), 2),
        "decode_gb_per_second": round(gigabytes / seconds(read, repeats), 2),
        f"merge_of_{PEERS}_seconds": round(seconds(lambda: merge(codec, sent, shapes, 1.0), max(repeats // 5, 1)), 2),
        "bytes_per_parameter": round(payload_size(codec, shapes) / (gigabytes / 4e-9), 4),
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute; writes nothing")
    quick = parser.parse_args().quick
    shapes = model_shapes()
    figures: dict[str, Any] = {"parameters": sum(prod(shape) for shape in shapes.values())}
    for name, codec in CODECS.items():
        figures[name] = measured(codec, shapes, 3 if quick else 15)
    record("codec", figures, quick)


if __name__ == "__main__":
    main()
