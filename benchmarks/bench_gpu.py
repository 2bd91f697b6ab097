"""What a GPU does of a peer's work, and how near its results are to a CPU's: run it on a machine with one.

python benchmarks/bench_gpu.py [--quick] [--device auto|cpu|cuda:0] [--only speed|codec|checks|trials|swarm …]

- speed: samples per second as `swarm launch --dry-run` measures them, and what a round's end takes: a Llama of 100
  million parameters in each precision, adapters on one of a billion; how busy the card was, and the memory taken;
- codec: choosing what travels of 100 million values, on the card and on the host;
- checks: gradients and updates of one device looked at by a checker on the other (`on_devices.py`);
- trials: held-out losses and answers of the card and of the CPU;
- swarm: a coordinator and two members in processes of their own, both on the card, or one on the CPU.

--quick plays all with tiny models, also without a GPU. Parts that are not named keep their figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pynvml
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from benchmarks.on_devices import Crossed, Texts, Values, learner_on, summary
from benchmarks.results import earlier, record
from peer import pace
from peer.adapters import initial
from peer.codecs.selection import BLOCK, largest_on, largest_on_host
from peer.device import choose, hardware, place
from peer.model import trainable
from peer.tokenizer import byte_level
from peer.trained import blank_adapted, trained_model
from swarm.ranges import Range
from swarm.runspec import RunSpec, loads
from swarm.trials.answers import Item, same
from swarm.trials.names import EVALUATE, REDTEAM, TOLERANCE
from tests.swarm_run import SwarmRun, rounds, text

SPEC = """
[run]
name = "gpu"
[model]
source = "{base}"
tokenizer = "model"
{model}
[data]
source = "{data}"
sequence_length = {length}
[training]
mode = "{mode}"
rounds = {rounds}
target_batch_size = {target}
micro_batch_size = {micro}
precision = "{precision}"
learning_rate = {rate}
warmup_samples = 64
[local]
steps = {steps}
batch_size = {batch}
window_seconds = 600.0
[exchange]
aggregation = "centered_clip"
compression = "{compression}"
"""
PLAIN = {
    "model": "", "data": "builtin:pydoc-topics", "length": 512, "mode": "gradient", "target": 512, "micro": 64,
    "rounds": 1000, "precision": "auto", "rate": 3e-4, "steps": 30, "batch": 32, "compression": "fp16",
}  # fmt: skip
SMALL = {"length": 32, "target": 32, "micro": 4, "batch": 4, "steps": 3}  # values of --quick
BILLION = {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 16}
HUNDRED = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 14, "num_attention_heads": 12}
TEN = {"hidden_size": 320, "intermediate_size": 896, "num_hidden_layers": 8, "num_attention_heads": 5}
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
LORA, INT8 = 'method = "lora"', 'method = "qlora"\nquantization = "int8"'
NF4 = 'method = "qlora"\nquantization = "nf4"'
VOCABULARY = 4096
Found = Iterator[tuple[str, dict[str, Any]]]  # of a part: what was measured, and its figures, as soon as they are there
PARTS = ("speed", "codec", "checks", "trials", "swarm")


@dataclass(frozen=True)
class Bench:
    """Where all of it happens: the device, a folder for bases, and whether it has to be quick."""

    device: str
    folder: Path
    quick: bool

    def some(self, first: str, *others: str) -> tuple[str, ...]:
        """All of them, or the first when it has to be quick."""
        return (first,) if self.quick else (first, *others)

    def base(self, name: str, sizes: Mapping[str, int]) -> Path:
        """A model's folder with weights at random; made once."""
        folder = self.folder / name
        if not folder.exists():
            torch.manual_seed(0)
            tokenizer = byte_level(512 if self.quick else VOCABULARY, [text(300_000)])
            end = tokenizer.eos_token_id
            ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
            shape = TINY if self.quick else sizes
            config = LlamaConfig(**shape, vocab_size=len(tokenizer), tie_word_embeddings=True, **ends)
            with torch.device(self.device):
                LlamaForCausalLM(config).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        return folder

    def toml(self, base: Path, **values: Any) -> str:
        """A run of that model, and what it needs beyond `PLAIN`."""
        return SPEC.format(base=base, **{**PLAIN, **values, **(SMALL if self.quick else {})})

    def spec(self, base: Path, **values: Any) -> RunSpec:
        """The same, read."""
        return loads(self.toml(base, **values))

    def values(self, spec: RunSpec, base: Path) -> Values:
        """What is trained, as it begins."""
        if spec.model.adapts:
            return initial(blank_adapted(spec, base), 0)
        model = LlamaForCausalLM.from_pretrained(base)
        return {name: parameter.detach() for name, parameter in trainable(model).items()}


@contextmanager
def watched(found: dict[str, float]) -> Iterator[None]:
    """Meanwhile look ten times a second at how busy the first card is; the median part of the time, percent."""
    looks, ended = [], threading.Event()

    def watch() -> None:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            card = pynvml.nvmlDeviceGetHandleByIndex(0)
            while not ended.wait(0.1):
                looks.append(pynvml.nvmlDeviceGetUtilizationRates(card).gpu)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if looks:
            found["busy_percent"] = statistics.median(looks)
            found["busy_mean_percent"] = round(statistics.fmean(looks), 1)


def speed(bench: Bench) -> Found:
    """Every way to train, one after the other."""
    whole, adapted = bench.base("hundred", HUNDRED), bench.base("billion", BILLION)
    cases = {
        **{f"full, {kind}": bench.spec(whole, precision=kind) for kind in ("fp32", "bf16", "fp16")},
        "full, bf16, local": bench.spec(whole, precision="bf16", mode="local"),
        "lora, bf16": bench.spec(adapted, model=LORA, precision="bf16"),
        "qlora nf4, bf16": bench.spec(adapted, model=NF4, precision="bf16"),
        "qlora int8, fp16": bench.spec(adapted, model=INT8, precision="fp16"),
    }
    for name in bench.some("full, bf16, local", *cases):
        yield name, _speed(bench, cases[name])


def _speed(bench: Bench, spec: RunSpec) -> dict[str, Any]:
    base, found = Path(spec.model.source), dict[str, float]()
    placement = place(spec, bench.device, hardware())
    model = trained_model(spec, base, placement)
    values = sum(p.numel() for p in model.parameters())
    if placement.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with watched(found):
        had = pace.measured(spec, model, placement)
    return {
        "trained_parameters": sum(p.numel() for p in trainable(model).values()),
        "samples_at_once": had.micro_batch,
        "tokens_per_second": round(had.rate * spec.data.sequence_length),
        "teraflops": round(6 * values * had.rate * spec.data.sequence_length / 1e12, 1),
        "end_of_round_seconds": round(had.settle, 3),
        **({"peak_gb": _peak()} if placement.device.type == "cuda" else {}),
        **found,
    }


def _peak() -> float:
    return round(torch.cuda.max_memory_allocated() / 1e9, 2)


def codec(bench: Bench) -> Found:
    """Choosing 64 of each 4096 values."""
    rows = (1 if bench.quick else 100) * 10**6 // BLOCK
    blocks = np.random.default_rng(0).standard_normal((rows, BLOCK), np.float32)
    ways = {"host": largest_on_host, "device": largest_on(bench.device)}
    chosen = {name: np.sort(way(blocks, 64), axis=1) for name, way in ways.items()}
    seconds = {f"{name}_seconds": _median(partial(way, blocks, 64)) for name, way in ways.items()}
    same_ones = bool(np.array_equal(chosen["host"], chosen["device"]))
    yield "64 of 4096", {"values": blocks.size, **seconds, "the_same": same_ones}


def _median(call: Callable[[], object]) -> float:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return round(statistics.median(took), 4)


def checks(bench: Bench) -> Found:
    """Each precision that a card may compute in against the CPU's fp32."""
    large, small = bench.base("hundred", HUNDRED), bench.base("ten", TEN)
    few = {"length": 64, "micro": 8, "batch": 8, "steps": 8}
    for precision in bench.some("bf16", "fp16"):
        run = bench.spec(large, **few, precision=precision)
        yield f"gradient, {precision}", _crossed(bench, run, large, size=4, rounds=2)
    for name, model in {} if bench.quick else {"lora": LORA, "qlora nf4": NF4}.items():
        run = bench.spec(small, **few, precision="bf16", model=model, rate=2e-3)
        yield f"gradient, {name}, bf16", _crossed(bench, run, small, size=8, rounds=3)
    run = bench.spec(small, **few, precision="bf16", mode="local", rate=2e-3)
    yield "local, bf16", _crossed(bench, run, small, size=64, rounds=3)


def _crossed(bench: Bench, spec: RunSpec, base: Path, size: int, rounds: int) -> dict[str, Any]:
    """With the CPU always in fp32: that is what a volunteer without a GPU computes in."""
    exact = spec.model_copy(update={"training": spec.training.model_copy(update={"precision": "fp32"})})
    values, texts = bench.values(spec, base), _texts(base, spec.data.sequence_length)
    learners = {"CPU": learner_on("cpu", exact, base, values), "GPU": learner_on(bench.device, spec, base, values)}
    small = bench.quick and spec.training.mode == "local"
    crossed = Crossed(spec, texts, learners, 12 if small else size)
    began = time.perf_counter()
    crossed.play(1 if bench.quick else rounds)
    took = round(time.perf_counter() - began, 1)
    return {"honest": summary(crossed.scores), "other data": summary(crossed.of_others), "seconds": took}


def _texts(base: Path, length: int) -> Texts:
    tokens = AutoTokenizer.from_pretrained(base)(text(300_000))["input_ids"]
    return Texts(torch.tensor(tokens), length)


def trials(bench: Bench) -> Found:
    """A model that learned a little, so that its answers are words, examined on both."""
    base = bench.base("ten", TEN)
    folder = _taught(bench, base)
    heldout = _texts(base, 128).load(Range(0, 4 if bench.quick else 64)).tokens
    save_file({"tokens": heldout.to(torch.int32)}, folder / "heldout")
    some = ["--count", "4" if bench.quick else "24"]
    for kind, options in {EVALUATE: ["--heldout", str(folder / "heldout")], REDTEAM: some}.items():
        one, other = (_examined(folder, device, options) for device in ("cpu", bench.device))
        pairs = list(zip(one, other, strict=True))
        alike = [(a.value, b.value) for a, b in pairs if a.digest == b.digest]
        yield (
            kind,
            {
                "items": len(pairs),
                "texts_that_differ": len(pairs) - len(alike),
                "largest_difference": max(abs(a - b) / max(a, b, 1e-9) for a, b in alike),
                "the_same": same(one, other, TOLERANCE[kind]),
            },
        )


def _taught(bench: Bench, base: Path) -> Path:
    folder = bench.folder / "taught"
    model = LlamaForCausalLM.from_pretrained(base).to(bench.device)
    texts = _texts(base, 128)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(3 if bench.quick else 300):
        start = step * 16 % (texts.count - 16)
        batch = texts.load(Range(start, start + 16)).tokens.to(bench.device)
        with torch.autocast(torch.device(bench.device).type, torch.bfloat16):
            model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((base / name).read_bytes())
    return folder


def _examined(folder: Path, device: str, options: list[str]) -> list[Item]:
    command = [sys.executable, "-m", "peer.examine", "--model", str(folder), "--device", device, *options]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [json.loads(line) for line in said.splitlines()]
    return [Item(line["index"], line["value"], line["weight"], line["digest"]) for line in lines]


def swarm(bench: Bench) -> Found:
    """Two members on the card, each with half of it; then one on it and one on the CPU, who make the same states."""
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "local, two on the card": partial(
            _swarm, bench, "hundred", HUNDRED, ("auto", "auto"), mode="local", steps=40, batch=16, micro=16
        ),
        "gradient, card and CPU": partial(_swarm, bench, "ten", TEN, ("auto", "cpu"), target=256),
    }
    for name in bench.some(*runs):
        yield name, runs[name]()


def _swarm(
    bench: Bench, base: str, sizes: Mapping[str, int], devices: tuple[str, str], **values: Any
) -> dict[str, Any]:
    folder = bench.folder / "-".join(["swarm", *devices])
    folder.mkdir()
    (folder / "corpus.txt").write_text(text(600_000))
    run, total, found = SwarmRun(folder), 3 if bench.quick else 6, dict[str, float]()
    values = {"length": 128, "micro": 32, "target": 256, **values, "data": "corpus.txt", "rounds": total}
    run.spec.write_text(bench.toml(bench.base(base, sizes), **values))
    try:
        run.launch(100)
        with watched(found):
            peers = [run.join(str(place), "--device", one, "--threads", "4") for place, one in enumerate(devices)]
            for peer in peers:
                assert peer.finish(150) == 0, peer.stderr[-3000:]
        done = [event for peer in peers for event in rounds(peer)]
        said = {event["text"] for peer in peers for event in peer.events if "Training on" in str(event.get("text"))}
    finally:
        run.clean_up()
    return {
        "said": sorted(said),
        "rounds_of_two": sum(event["members"] == 2 for event in done) // 2,
        "digests_by_round": [len({e["digest"] for e in done if e["round"] == number}) for number in range(total)],
        "loss": [round(done[0]["loss"], 3), round(done[-1]["loss"], 3)],
        "compute_seconds": [round(statistics.median(e["compute"] for e in rounds(peer)), 2) for peer in peers],
        "exchange_seconds": round(statistics.median(event["seconds"] - event["compute"] for event in done), 2),
        **found,
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute; writes nothing")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    choice = choose(options.device, hardware())
    if not (options.quick or choice.device.startswith("cuda")):
        parser.error("torch finds no GPU here; --quick plays all parts on the CPU")
    figures = {} if options.quick else earlier("gpu")
    ways = {"speed": speed, "codec": codec, "checks": checks, "trials": trials, "swarm": swarm}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(choice.device, Path(folder), options.quick)
        for part in options.only:
            began = time.perf_counter()
            for name, found in ways[part](bench):
                figures[part] = {**figures.get(part, {}), name: found}
                record("gpu", {"device": choice.why, **figures}, options.quick)
            print(f"{part}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
