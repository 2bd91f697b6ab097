"""Peers of local mode in one process: learners, codec and combination are real, only the network is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from peer.checkpoint import state_digest, write_state
from peer.codecs import codec_of, encode
from peer.data import Samples
from peer.device import Hardware, place
from peer.exchange.average import merged
from peer.exchange.base import Applied
from peer.gradients import Gradients
from peer.learner import Learner
from peer.local_mode import LocalLearner
from peer.merge import Contribution
from peer.model import trainable
from peer.modes import first_state, learner_of
from swarm.ranges import Range
from swarm.runspec import RunSpec, loads

SPEC = """
[run]
name = "test"
[model]
source = "preset:tiny-llama"
tokenizer = "bytes"
[data]
source = "builtin:pydoc-topics"
sequence_length = 16
[training]
mode = "local"
rounds = 3
target_batch_size = 32
micro_batch_size = 4
schedule = "constant"
[local]
steps = 4
batch_size = 8
{local}
"""
EXACT = 'codec = "none"\nclip = 0.0'
TOKENS = torch.randint(0, 257, (256, 17), generator=torch.Generator().manual_seed(1))


def spec(local: str = EXACT) -> RunSpec:
    return loads(SPEC.format(local=local))


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    return LlamaForCausalLM(config)


def learner(tmp_path: Path, local: str = EXACT) -> LocalLearner:
    """At the state of round 0, as a peer begins."""
    made = begun(spec(local), tmp_path)
    assert isinstance(made, LocalLearner)
    return made


def begun(run: RunSpec, tmp_path: Path) -> Learner:
    """The learner of a run in round 0."""
    parameters = trainable(model())
    placement = place(run, "cpu", Hardware())
    made = learner_of(run, parameters, Gradients(_of(parameters), parameters, placement, 16.0, 4, print))
    state = first_state(run, {name: p.detach().clone() for name, p in parameters.items()})
    digest = state_digest(state)
    path = tmp_path / "first.safetensors"
    write_state(path, state, {"round": "0", "global_samples": "0", "digest": digest})
    made.load(path)
    return made


def _of(parameters: dict[str, torch.nn.Parameter]) -> LlamaForCausalLM:
    """A model that computes with exactly these parameters."""
    network = model()
    for name, parameter in parameters.items():
        owner, _, last = name.rpartition(".")
        setattr(network.get_submodule(owner), last, parameter)
    return network


def load(positions: Range) -> Samples:
    """The samples at these positions, of those that all tests of learners share."""
    return Samples(TOKENS[positions.start : positions.stop])


def learn(one: LocalLearner, start: int, samples: int) -> None:
    while samples and (room := min(one.room(), samples)):
        one.learn(load(Range(start, start + room)))
        start, samples = start + room, samples - room


def theta(one: Learner) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy().copy() for name, p in one.parameters.items()}


def exchange(
    learners: Sequence[LocalLearner], samples: Sequence[int], meanwhile: Callable[[], None] = lambda: None
) -> int:
    """End a round in which each learner trained on `samples[i]` samples; the bytes of one payload.

    `meanwhile` is called while the updates travel.
    """
    local = learners[0].spec.local
    codec = codec_of(local)
    updates = [learner.update(count) for learner, count in zip(learners, samples, strict=True)]
    payloads = [encode(codec, {name: t.numpy() for name, t in update.tensors.items()}) for update in updates]
    shapes = {name: tuple(tensor.shape) for name, tensor in updates[0].tensors.items()}
    meanwhile()
    found = [Contribution(count, payload) for count, payload in zip(samples, payloads, strict=True)]
    for learner, own in zip(learners, payloads, strict=True):
        average = merged(codec, found, shapes, local.clip, own)
        result = Applied(
            average.mean, average.norm, sum(samples), len(learners), taken=average.taken, lost=average.lost
        )
        learner.apply(result)
    return len(payloads[0])
