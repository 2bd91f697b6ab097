"""Adapters in local mode: what averaging their factors loses, and that they take turns then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from peer import recomputation
from peer.adapters import adapt, initial
from peer.checkpoint import state_digest, write_state
from peer.device import Hardware, place
from peer.factors import lost, moved, pairs, resting
from peer.gradients import Gradients
from peer.local_mode import LocalLearner
from peer.model import trainable
from peer.modes import first_state
from swarm.ranges import Range
from swarm.runspec import RunSpec, loads
from tests.local_swarm import exchange, load
from tests.steps import ended

A, B = "layer.lora_A.weight", "layer.lora_B.weight"
SPEC = """
[run]
name = "test"
[model]
source = "./base"
tokenizer = "model"
method = "lora"
[lora]
rank = 4
[data]
source = "builtin:pydoc-topics"
sequence_length = 16
[training]
mode = "local"
rounds = 9
target_batch_size = 32
micro_batch_size = 8
schedule = "constant"
learning_rate = {rate}
[local]
steps = 2
batch_size = 8
codec = "int8"
"""


def updates(count: int) -> list[dict[str, np.ndarray]]:
    draw = np.random.default_rng(0)
    return [{A: draw.standard_normal((3, 7)), B: draw.standard_normal((5, 3))} for _ in range(count)]


def learner(tmp_path: Path, rate: float) -> LocalLearner:
    """At the state of round 0."""
    spec = loads(SPEC.format(rate=rate))
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    network = adapt(LlamaForCausalLM(LlamaConfig(vocab_size=257, **shape)).requires_grad_(False), spec)
    parameters = trainable(network)
    gradients = Gradients(network, parameters, place(spec, "cpu", Hardware()), 16.0, 8, print)
    made = LocalLearner(spec, parameters, gradients)
    made.load(_first(spec, network, tmp_path))
    return made


def _first(spec: RunSpec, network: torch.nn.Module, tmp_path: Path) -> Path:
    state, path = first_state(spec, initial(network, 0)), tmp_path / "first.safetensors"
    write_state(path, state, {"round": "0", "global_samples": "0", "digest": state_digest(state)})
    return path


def round_of(learners: list[LocalLearner]) -> set[str]:
    """Train and exchange; the names of what moved."""
    before = {name: p.detach().clone() for name, p in learners[0].parameters.items()}
    for index, one in enumerate(learners):
        for step in range(2):
            start = (one.round * 4 + index * 2 + step) * 8
            one.learn(load(Range(start, start + 8)))
    exchange(learners, [16] * len(learners))
    return {name for name, p in learners[0].parameters.items() if not torch.equal(p, before[name])}


def test_what_is_lost_is_the_mean_of_the_products_less_the_product_of_the_means() -> None:
    parts, found = [0.5, 0.3, 0.2], updates(3)
    products = sum(part * one[B] @ one[A] for part, one in zip(parts, found, strict=True))
    means = [sum(part * one[name] for part, one in zip(parts, found, strict=True)) for name in (B, A)]
    assert lost(found, parts) == pytest.approx(np.square(products - means[0] @ means[1]).sum())


def test_nothing_is_lost_by_one_peer_or_when_one_factor_rests() -> None:
    assert lost(updates(1), [1.0]) == 0
    for name in (A, B):
        still = [{**one, name: np.zeros_like(one[name])} for one in updates(3)]
        assert lost(still, [1 / 3] * 3) == pytest.approx(0, abs=1e-20)


def test_how_far_the_products_move() -> None:
    theta, update = updates(2)
    wanted = (theta[B] - update[B]) @ (theta[A] - update[A]) - theta[B] @ theta[A]
    assert moved(theta, update) == pytest.approx(np.square(wanted).sum())


def test_the_factors_rest_in_turns_and_nothing_else_does() -> None:
    names = [A, B, "norm.weight", "alone.lora_A.weight"]
    assert pairs(names) == [(A, B)]
    assert resting(names, 0) == {A}
    assert resting(names, 1) == {B}


def test_a_swarm_that_loses_too_much_takes_turns_from_then_on(tmp_path: Path) -> None:
    learners = [learner(tmp_path, 1e-2) for _ in range(2)]
    assert {name.split(".lora_")[1][0] for name in round_of(learners)} == {"A", "B"}
    for expected in "ABAB":  # rounds 1, 2, …: in round 1 B rests
        assert {name.split(".lora_")[1][0] for name in round_of(learners)} == {expected}
        assert len({one.digest for one in learners}) == 1


def test_who_joins_later_takes_turns_too(tmp_path: Path) -> None:
    learners = [learner(tmp_path, 1e-2) for _ in range(2)]
    round_of(learners)
    late = learner(tmp_path, 1e-2)
    late.load(learners[0].snapshot(tmp_path)[0])
    assert {name.split(".lora_")[1][0] for name in round_of([*learners, late])} == {"A"}
    assert late.digest == learners[0].digest


def test_a_swarm_that_loses_little_trains_both(tmp_path: Path) -> None:
    learners = [learner(tmp_path, 1e-5) for _ in range(2)]
    for _ in range(3):
        assert {name.split(".lora_")[1][0] for name in round_of(learners)} == {"A", "B"}


def test_a_round_of_adapters_is_done_again_also_when_factors_take_turns(tmp_path: Path) -> None:
    """From the member's own inner moments, to the last bit."""
    checker, member = [learner(tmp_path, 1e-2) for _ in range(2)]
    round_of([checker, member])
    start, positions = member.start(), Range(64, 80)
    for part in load(positions).split(8):
        member.learn(part)
    again = ended(recomputation.moved(checker, start, [positions], load))
    assert {name: values.tolist() for name, values in again.items()} == {
        name: tensor.tolist() for name, tensor in member.update(16).tensors.items()
    }
