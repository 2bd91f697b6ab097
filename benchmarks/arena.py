"""A swarm of one process in which some replicas lie: learners, codecs, screening and aggregation are the peers' own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig

from benchmarks.attacks import Attack, Scene, Vector
from benchmarks.replicas import Ground
from peer.codecs import Codec, Shapes, codec_of, encode
from peer.data import Samples
from peer.exchange.average import measure
from peer.exchange.base import Applied, Update
from peer.exchange.parts import VALUES
from peer.learner import Learner
from peer.merge import Contribution, merge, understood
from peer.model import load_model
from peer.robust import robust_mean
from swarm.errors import CorruptError
from swarm.ranges import Range
from swarm.runspec import RunSpec, loads

BYTES = 260  # tokens of the byte tokenizer, rounded up
SPEC = """
[run]
name = "attacks"
seed = {seed}
[model]
source = "{model}"
tokenizer = "bytes"
[data]
source = "builtin:pydoc-topics"
sequence_length = 32
heldout_fraction = 0.1
[training]
mode = "{mode}"
rounds = {rounds}
target_batch_size = {target}
micro_batch_size = {size}
precision = "fp32"
learning_rate = {rate}
warmup_samples = {warmup}
[local]
steps = {steps}
batch_size = {size}
codec = "{codec}"
kept = {kept}
outer_learning_rate = {outer}
"""


@dataclass(frozen=True)
class Game:
    """How a mode is played: `size` samples of each replica in one of `steps` inner steps."""

    mode: str
    rounds: int
    size: int = 4
    steps: int = 1
    rate: float = 4e-3
    codec: str = "sparse"
    kept: int = 512
    outer: float = 0.5
    width: int = 64  # of the model, a multiple of 16
    layers: int = 1

    def spec(self, folder: Path, peers: int, seed: int = 0) -> RunSpec:
        """Its run spec; the model is made in `folder`."""
        LlamaConfig(
            hidden_size=self.width,
            intermediate_size=self.width * 11 // 4,
            num_hidden_layers=self.layers,
            num_attention_heads=4,
            initializer_range=0.05,
            vocab_size=BYTES,
            max_position_embeddings=64,
            tie_word_embeddings=True,
        ).save_pretrained(folder / "base")
        target = peers * self.size * self.steps
        return loads(
            SPEC.format(
                seed=seed,
                model=folder / "base",
                mode=self.mode,
                rounds=self.rounds,
                target=target,
                size=self.size,
                rate=self.rate,
                warmup=self.rounds * target // 10,
                steps=self.steps,
                codec=self.codec,
                kept=self.kept,
                outer=self.outer,
            )
        )


@dataclass(frozen=True)
class Sent:
    """One peer's part in a round."""

    samples: int
    vector: Vector


class Standing(NamedTuple):
    """After a round: the held-out loss in nats per token, and which part of the attackers' and of the others' updates
    was refused until then.
    """

    round: int
    loss: float
    refused: float
    refused_honest: float


Combine = Callable[[Sequence[Sent], Shapes], tuple[Vector, set[int], list[bytes]]]


@dataclass
class Arena:
    """`peers` replicas of a game, the last `attackers` of which attack in the rounds of `when`."""

    ground: Ground
    spec: RunSpec
    peers: int
    attackers: int
    attack: Attack
    when: range
    combine: Combine

    def losses(self, every: int) -> Iterator[Standing]:
        """How it stands every so often."""
        learners = self._learners()
        model = load_model(self.ground.model)
        past: list[list[Vector]] = [[] for _ in range(self.peers)]
        refused, sent_by = Counter[bool](), Counter[bool]()  # of attackers, and of the others
        for round_ in range(self.spec.training.rounds):
            sent, shapes = self._round(learners, round_, past)
            mean, left_out, payloads = self.combine(sent, shapes)
            honest = self.peers - self.attackers if round_ in self.when else self.peers
            sent_by.update(peer >= honest for peer in range(self.peers))
            refused.update(peer >= honest for peer in left_out)
            self._apply(learners, mean, shapes, [b"" if i in left_out else p for i, p in enumerate(payloads)])
            if (round_ + 1) % every == 0 or round_ + 1 == self.spec.training.rounds:
                parts = [refused[which] / max(sent_by[which], 1) for which in (True, False)]
                yield Standing(round_ + 1, self.ground.loss(learners[0], model), *parts)

    def _learners(self) -> list[Learner]:
        """In gradient mode all hold the same θ and nothing else: one stands for all."""
        count = 1 if self.spec.training.mode == "gradient" else self.peers
        return [self.ground.learner(self.spec) for _ in range(count)]

    def _round(self, learners: list[Learner], round_: int, past: list[list[Vector]]) -> tuple[list[Sent], Shapes]:
        size = self.spec.training.target_batch_size // self.peers
        honest = self.peers - self.attackers if round_ in self.when else self.peers
        own = []
        for peer in range(self.peers):
            learner = learners[peer % len(learners)]
            update = self._learn(learner, round_, peer, flips=self.attack.flips and peer >= honest)
            own.append(flat(update))
        shapes = {name: tuple(tensor.shape) for name, tensor in update.tensors.items()}
        for mine, vector in zip(past, own, strict=True):
            mine.append(vector)
            del mine[:-11]
        scenes = [Scene(own[p], own[:honest], past[p], self.peers, p - honest) for p in range(honest, self.peers)]
        sent = [Sent(size, vector) for vector in own[:honest]]
        if not self.attack.absent:
            sent += [Sent(int(size * self.attack.samples), self.attack.send(scene)) for scene in scenes]
        return sent, shapes

    def _learn(self, learner: Learner, round_: int, peer: int, flips: bool) -> Update:
        size, steps = self.spec.training.micro_batch_size, self._steps
        for step in range(steps):
            start = ((round_ * steps + step) * self.peers + peer) * size
            samples = self.ground.batches.load(Range(start, start + size))
            learner.learn(flipped(samples) if flips else samples)
        update = learner.update(size * steps)
        if self.spec.training.mode == "gradient":
            learner.gradients.begin()
        return update

    @property
    def _steps(self) -> int:
        return self.spec.local.steps if self.spec.training.mode == "local" else 1

    def _apply(self, learners: list[Learner], mean: Vector, shapes: Shapes, payloads: list[bytes]) -> None:
        average = measure(tensors(mean, shapes))
        codec = codec_of(self.spec.local)
        for index, learner in enumerate(learners):
            payload = payloads[index] if index < len(payloads) else b""
            taken = understood(codec, payload, shapes) if payload else {}
            own = {name: torch.from_numpy(values) for name, values in taken.items()}
            samples = self.spec.training.target_batch_size
            learner.apply(Applied(average.mean, average.norm, samples, self.peers, taken=own))
        assert len({learner.digest for learner in learners}) == 1, "the replicas differ"


def within(most: int, combine: Combine) -> Combine:
    """Without those who say that they are of more samples: their seals are refused."""

    def screened(sent: Sequence[Sent], shapes: Shapes) -> tuple[Vector, set[int], list[bytes]]:
        kept = [place for place, one in enumerate(sent) if one.samples <= most]
        made, refused, payloads = combine([sent[place] for place in kept], shapes)
        of = dict(zip(kept, payloads, strict=False))
        left_out = {kept[place] for place in refused} | set(range(len(sent))) - set(kept)
        return made, left_out, [of.get(place, b"") for place in range(len(sent))] if payloads else []

    return screened


def robust_gradients(sent: Sequence[Sent], _shapes: Shapes) -> tuple[Vector, set[int], list[bytes]]:
    """As the all-reduce's reducers: part by part."""
    rows, samples = np.array([one.vector.astype(np.float32) for one in sent], np.float64), [one.samples for one in sent]
    parts, refused = [], set()
    for begin in range(0, rows.shape[1], VALUES):
        mean, left_out = robust_mean(rows[:, begin : begin + VALUES], samples)
        parts.append(mean)
        refused |= set(left_out)
    return np.concatenate(parts).astype(np.float64), refused, []


def mean_of_gradients(sent: Sequence[Sent], _shapes: Shapes) -> tuple[Vector, set[int], list[bytes]]:
    """hivemind's: by the senders' own weights."""
    weights = np.array([one.samples for one in sent], np.float64)
    return np.average([one.vector for one in sent], axis=0, weights=weights), set(), []


def robust_updates(codec: Codec, clip: float) -> Combine:
    """As local mode's peers."""

    def combine(sent: Sequence[Sent], shapes: Shapes) -> tuple[Vector, set[int], list[bytes]]:
        payloads = _encoded(codec, sent, shapes)
        found = [Contribution(one.samples, payload) for one, payload in zip(sent, payloads, strict=True)]
        made = merge(codec, found, shapes, clip)
        return _vector(made.update), set(made.refused), payloads

    return combine


def mean_of_updates(codec: Codec) -> Combine:
    """The weighted mean of what the payloads say, with the counts of who sent what in it, but nothing else."""

    def combine(sent: Sequence[Sent], shapes: Shapes) -> tuple[Vector, set[int], list[bytes]]:
        payloads = _encoded(codec, sent, shapes)
        vectors = [_decoded(codec, payload, shapes) for payload in payloads]
        total = np.average(vectors, axis=0, weights=[one.samples for one in sent]) * len(sent)
        counts = np.sum([vector != 0 for vector in vectors], axis=0) if codec.sparse else len(sent)
        unreadable = {peer for peer, vector in enumerate(vectors) if np.isnan(vector).any()}  # by its sender, too
        return total / np.maximum(counts, 1), unreadable, payloads

    return combine


def _encoded(codec: Codec, sent: Sequence[Sent], shapes: Shapes) -> list[bytes]:
    return [encode(codec, {n: t.numpy() for n, t in tensors(one.vector, shapes).items()}) for one in sent]


def _decoded(codec: Codec, payload: bytes, shapes: Shapes) -> Vector:
    try:
        return _vector(understood(codec, payload, shapes))
    except CorruptError:
        return np.full(sum(int(np.prod(shape)) for shape in shapes.values()), np.nan)


def _vector(values: dict[str, NDArray[np.floating]]) -> Vector:
    return np.concatenate([values[name].reshape(-1) for name in sorted(values)]).astype(np.float64)


def flat(update: Update) -> Vector:
    """All its values, tensor by tensor in the order of their names."""
    return _vector({name: tensor.numpy() for name, tensor in update.tensors.items()})


def tensors(vector: Vector, shapes: Shapes) -> dict[str, torch.Tensor]:
    """What `flat` made one vector of."""
    found, begin = {}, 0
    for name in sorted(shapes):
        end = begin + int(np.prod(shapes[name]))
        found[name] = torch.from_numpy(vector[begin:end].astype(np.float32).reshape(shapes[name]))
        begin = end
    return found


def flipped(samples: Samples) -> Samples:
    """Token t becomes V − 1 − t, as labels are flipped for classifiers."""
    return replace(samples, tokens=(BYTES - 4 - samples.tokens).clip(0))
