"""Training in one process: replicas of local mode, or one synchronous optimizer on the whole batch.

Learners, codecs and combination are those of the peers; only the network is missing. Every inner step of all replicas
together sees the samples that a synchronous step sees, in the same order.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from peer.artefacts import Job, Workshop, prepare
from peer.checkpoint import read_state, state_digest, state_metadata, write_state
from peer.codecs import Floats, codec_of, encode
from peer.data import Batches
from peer.device import Hardware, place
from peer.exchange.average import Average, measure, merged
from peer.exchange.base import Applied, Update
from peer.gradients import Gradients
from peer.learner import Learner
from peer.merge import Contribution, understood
from peer.model import evaluate, load_model, trainable
from peer.modes import first_state, learner_of
from swarm.ranges import Layout, Range
from swarm.runspec import RunSpec

_EVALUATED_AT_ONCE = 64  # samples
_EARLY = 5  # inner steps while updates travel, with overlap: a third of a round, more than any home link needs


class Silent:
    """See `peer.artefacts.Listener`."""

    def step(self, step: str, detail: str) -> None:
        """Nobody listens."""

    def documents(self, done: int, total: int | None) -> None:
        """Nobody listens."""


@dataclass(frozen=True)
class Ground:
    """What all runs of a seed share: the prepared data, and the weights that they begin with."""

    model: Path
    heldout: Path
    first: Path
    targets: float
    samples_per_epoch: int
    batches: Batches

    @classmethod
    def prepare(cls, spec: RunSpec, folder: Path) -> Ground:
        """Make it in `folder`, or find it there."""
        prepare(Job(spec, folder, Workshop(folder), Silent(), 1))
        made = json.loads((folder / "artefacts.json").read_text())
        blobs, facts = folder / "blobs", made["layout"]
        digests = tuple(shard["sha256"] for shard in made["shards"])
        layout = Layout(tuple(facts["shard_samples"]), facts["sequence_length"], facts["seed"])
        batches = Batches(layout, digests, lambda index: blobs / digests[index])
        first, heldout = blobs / made["checkpoint"]["sha256"], blobs / made["heldout"]["sha256"]
        return cls(folder / "model", heldout, first, facts["targets_per_sample"], layout.samples_per_epoch, batches)

    def learner(self, spec: RunSpec) -> Learner:
        """A peer's learner in round 0."""
        model = load_model(self.model)
        parameters, placement = trainable(model), place(spec, "cpu", Hardware())
        gradients = Gradients(model, parameters, placement, self.targets, spec.training.micro_batch_size, print)
        learner = learner_of(spec, parameters, gradients)
        with tempfile.TemporaryDirectory() as name:
            learner.load(self._begin(spec, Path(name) / "first.safetensors"))
        return learner

    def _begin(self, spec: RunSpec, path: Path) -> Path:
        """The first state of this kind of run, with the weights that all kinds share."""
        tensors, _ = read_state(self.first)
        values = {name.removeprefix("model/"): v for name, v in tensors.items() if name.startswith("model/")}
        state = first_state(spec, values)
        write_state(path, state, state_metadata(spec.run.name, 0, 0, state_digest(state)))
        return path

    def loss(self, learner: Learner, model: nn.Module) -> float:
        """Of the agreed θ on the held-out samples, nats per token; `model` is overwritten."""
        state = learner.state()
        with torch.no_grad():
            for name, parameter in trainable(model).items():
                parameter.copy_(state[f"model/{name}"])
        return evaluate(model, self.heldout, _EVALUATED_AT_ONCE)


def losses(ground: Ground, spec: RunSpec, replicas: int, every: int) -> Iterator[tuple[int, float]]:
    """(samples seen by all, held-out loss) after every `every`-th round and after the last one."""
    learners = [ground.learner(spec) for _ in range(replicas)]
    model = load_model(ground.model)
    early = 0  # steps of this round that were taken while the last one's updates travelled
    for round_ in range(spec.training.rounds):
        for i, one in enumerate(learners):
            _teach(ground, one, _share(spec, round_, replicas, i)[early:])
        early = _EARLY if spec.local.overlap and round_ + 1 < spec.training.rounds else 0
        ahead = [_share(spec, round_ + 1, replicas, i)[:early] for i in range(replicas)]
        _end_round(ground, learners, spec.training.target_batch_size // replicas, ahead)
        assert len({one.digest for one in learners}) == 1, "the replicas differ"
        if (round_ + 1) % every == 0 or round_ + 1 == spec.training.rounds:
            yield learners[0].global_samples, ground.loss(learners[0], model)


def _share(spec: RunSpec, round_: int, replicas: int, replica: int) -> list[Range]:
    """The positions of each inner step of a replica in a round."""
    target = spec.training.target_batch_size
    if spec.training.mode == "gradient":
        return [Range(round_ * target, (round_ + 1) * target)]
    size = spec.local.batch_size
    starts = [(round_ * spec.local.steps + step) * replicas * size for step in range(spec.local.steps)]
    return [Range(start + replica * size, start + (replica + 1) * size) for start in starts]


def _teach(ground: Ground, learner: Learner, share: Sequence[Range]) -> None:
    """Let a learner train on its share."""
    for positions in share:
        samples = ground.batches.load(positions)
        while len(samples):
            room = learner.room()
            learner.learn(samples[:room])
            samples = samples[room:]


def _end_round(ground: Ground, learners: Sequence[Learner], each: int, ahead: Sequence[Sequence[Range]]) -> None:
    """Exchange what each learned from `each` samples; `ahead` is learned while updates travel."""
    updates = [learner.update(each) for learner in learners]
    averages = _combined(learners[0].spec, updates)
    for learner, average, share in zip(learners, averages, ahead, strict=True):
        _teach(ground, learner, share)
        samples, members = each * len(learners), len(learners)
        learner.apply(Applied(average.mean, average.norm, samples, members, taken=average.taken, lost=average.lost))


def _combined(spec: RunSpec, updates: Sequence[Update]) -> list[Average]:
    """What the exchange gives each member. The combination is the same for all and computed once."""
    if spec.training.mode == "gradient":
        return [measure(update.tensors) for update in updates]
    codec = codec_of(spec.local)
    payloads = [encode(codec, {name: t.numpy() for name, t in update.tensors.items()}) for update in updates]
    shapes = {name: tuple(tensor.shape) for name, tensor in updates[0].tensors.items()}
    found = [Contribution(update.samples, payload) for update, payload in zip(updates, payloads, strict=True)]
    average = merged(codec, found, shapes, spec.local.clip, b"")
    return [replace(average, taken=_tensors(understood(codec, payload, shapes))) for payload in payloads]


def _tensors(values: dict[str, Floats]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in values.items()}
