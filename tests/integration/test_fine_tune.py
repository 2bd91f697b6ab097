"""A community fine-tune: three unequal peers train adapters on a base made here, on speeches of a parliament."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from peer.checkpoint import read_state
from peer.data import Samples
from peer.model import evaluate, trainable
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Range
from swarm.replay import replay
from swarm.runspec import load
from tests.harness import disputed
from tests.reference import plain_adapters
from tests.swarm_run import SwarmRun, after_round, digests, rounds, swarm_run
from tests.tiny_base import make_base

ROUNDS = 40
PAIRS = Path(__file__).parents[2].parent / "shared" / "data" / "parliament-en-de.jsonl"

SPEC = """
[run]
name = "legal"
license = "Apache-2.0"

[model]
source = "./base"
tokenizer = "model"
method = "{method}"

[lora]
rank = 8
alpha = 16.0

[data]
source = "pairs.jsonl"
format = "translation"
pair = "en<>de"
sequence_length = 128

[training]
rounds = {rounds}
target_batch_size = 96
micro_batch_size = 4
learning_rate = 1e-2
warmup_samples = 192
weight_decay = 0.0

[exchange]
compression = "fp16"
grace_seconds = 5.0
timeout_seconds = 30.0

[checkpoint]
every_rounds = 10

[evaluation]
every_rounds = 10
prompts = ["The house", "Translate from English to German. Yes."]
"""
LOCAL_ROUNDS = 30
LOCAL = """[local]
steps = 8
batch_size = 4
codec = "fp16"

[training]
mode = "local\""""


def pairs() -> list[dict[str, str]]:
    """The speeches where they are; elsewhere, short sentences in two invented languages."""
    if PAIRS.exists():
        return [json.loads(line) for line in PAIRS.read_text().splitlines()]
    words = ["law", "court", "vote", "house", "right", "state", "year", "member", "report", "council"]
    found = []
    for number in range(1000):
        chosen = [words[number // 10**place % 10] for place in range(3)]
        found.append({"en": " ".join(chosen), "de": " ".join(f"{word[::-1]}en" for word in chosen)})
    return found


@pytest.fixture
def legal(tmp_path: Path) -> Iterator[SwarmRun]:
    """A swarm with the pairs and a base that knows a little English."""
    records = pairs()
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    make_base(tmp_path / "base", [record["en"] for record in records], steps=60)
    with swarm_run(tmp_path) as run:
        yield run


@contextmanager
def slowed(folder: Path, part: float) -> Iterator[None]:
    """Let the worker of the peer in `folder` run only `part` of the time, as on a machine that much slower."""
    ended = threading.Event()
    thread = threading.Thread(target=_slow, args=(folder / "worker.json", part, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _slow(note: Path, part: float, ended: threading.Event) -> None:
    while not ended.wait(0.1 * part):
        with suppress(OSError, ValueError, KeyError, psutil.Error):
            worker = int(json.loads(note.read_text())["group"])
            os.kill(worker, signal.SIGSTOP)
            time.sleep(0.1 * (1 - part))
            os.kill(worker, signal.SIGCONT)


@pytest.mark.processes
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_three_unequal_peers_learn_as_one_machine_does(legal: SwarmRun, method: str) -> None:
    legal.spec.write_text(SPEC.format(method=method, rounds=ROUNDS))
    legal.launch()
    programs = [legal.join(name) for name in ("slow", "one", "two")]
    programs[0].wait_for(after_round(0), 60)
    with slowed(legal.folder / "slow", 0.25):
        for program in programs:
            assert program.finish(250) == 0, program.stderr
    with legal.client() as client:
        run, status, entries = client.get_run(), client.status(), client.ledger()
    losses = {found.round: found.heldout_loss for found in status.evaluations}
    assert losses[ROUNDS] < losses[0] - 0.3  # nats: a perplexity of three quarters
    assert losses[ROUNDS] == pytest.approx(alone(legal, run, entries, method), rel=0.02)
    assert exported(legal, run, method) == pytest.approx(losses[ROUNDS], rel=1e-4)
    assert [sample.prompt for sample in status.evaluations[-1].samples] == load(legal.spec).evaluation.prompts
    assert min(member.counted_samples for member in status.members) > 0
    for program in programs:
        for done in rounds(program)[1:]:
            assert done["seconds"] < 5.0 + 5.0, "a round took longer than its computation and the grace time"
    replay(entries, legal.layout(run)).check()


@pytest.mark.processes
@pytest.mark.long
@pytest.mark.timeout(300)
def test_adapters_learn_in_local_mode(legal: SwarmRun) -> None:
    """H steps between two exchanges; what averaging A and B apart loses is logged, and one state after every round."""
    legal.spec.write_text(SPEC.format(method="lora", rounds=LOCAL_ROUNDS).replace("[training]", LOCAL))
    legal.launch()
    programs = [legal.join(name) for name in ("one", "two", "three")]
    for program in programs:
        assert program.finish(200) == 0, program.stderr
    held = digests(programs)
    assert set(held) == set(range(LOCAL_ROUNDS))
    assert not disputed(held)
    assert any(done["members"] == 3 for done in rounds(programs[0]))
    assert "averaging A and B apart lost" in (legal.folder / "one" / "worker.log").read_text()
    with legal.client() as client:
        run, status, entries = client.get_run(), client.status(), client.ledger()
    losses = {found.round: found.heldout_loss for found in status.evaluations}
    assert losses[LOCAL_ROUNDS] < losses[0] - 0.3
    assert exported(legal, run, "lora") == pytest.approx(losses[LOCAL_ROUNDS], rel=1e-4)
    replay(entries, legal.layout(run)).check()


def alone(legal: SwarmRun, run: pb.Run, entries: list[pb.LedgerEntry], method: str) -> float:
    """The held-out loss of one machine that trained on the samples of the swarm's rounds, with torch and peft alone."""
    spec, batches = load(legal.spec), legal.batches()
    model = get_peft_model(plain_base(legal, method), LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    state, _ = read_state(legal.first_checkpoint())
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(state[f"model/{name}"])
    counted = [[e.range for e in entries if e.state == "counted" and e.round == number] for number in range(ROUNDS)]
    global_batches = (Samples.cat([batches.load(Range(r.start, r.stop)) for r in parts]) for parts in counted)
    plain_adapters(model, global_batches, spec, run.layout.targets_per_sample)
    return evaluate(model, legal.blob(run.heldout.sha256), 8)


def exported(legal: SwarmRun, run: pb.Run, method: str) -> float:
    """The held-out loss of what `swarm export` wrote, loaded with plain peft."""
    command = legal.command("export", legal.invite, "--output", str(legal.folder / "out"))
    assert command.finish(90) == 0, command.stderr
    model = PeftModel.from_pretrained(plain_base(legal, method), legal.folder / "out")
    return evaluate(model, legal.blob(run.heldout.sha256), 8)


def plain_base(legal: SwarmRun, method: str) -> nn.Module:
    where: dict[str, Any] = {}
    if method == "qlora":
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
        where = {"quantization_config": config, "device_map": {"": "cpu"}}
    base = AutoModelForCausalLM.from_pretrained(legal.folder / "base", dtype=torch.float32, **where)
    model: nn.Module = base.requires_grad_(False)
    return model
