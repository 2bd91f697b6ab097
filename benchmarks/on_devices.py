"""One run on two devices in one process: learners at the same state, and what one's checker says of the other's work.

For bench_gpu.py. Learners, codecs and checks are the peers' own; what a member sends is computed on one device, and
looked at on the other.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from coordinator.spotchecks import control
from peer.codecs import codec_of, encode
from peer.data import Samples
from peer.device import hardware, place
from peer.exchange.average import measure, merged
from peer.exchange.base import Applied, Seen, Update
from peer.exchange.butterfly import places, vectors
from peer.exchange.parts import cut
from peer.gradient_check import KeptGradient, looks, travelled
from peer.learner import GradientLearner, Learner
from peer.local_mode import LocalLearner
from peer.merge import Contribution
from peer.model import trainable
from peer.pace import begun
from peer.recomputation import Kept, Subject, gains, moved
from peer.spotcheck import gain_of, likeness, score
from peer.trained import trained_model
from swarm.ranges import Range
from swarm.runspec import RunSpec
from tests.steps import ended

Values = Mapping[str, torch.Tensor]
Scores = dict[tuple[str, str], list[float]]


@dataclass
class Texts:
    """Tokens of a text that a peer would get from its shards: sample i is those from i × length on."""

    tokens: torch.Tensor  # [tokens]
    length: int

    def load(self, positions: Range) -> Samples:
        """Samples [count, length + 1]."""
        rows = [
            self.tokens[at * self.length : (at + 1) * self.length + 1] for at in range(positions.start, positions.stop)
        ]
        return Samples(torch.stack(rows))

    @property
    def count(self) -> int:
        """Samples."""
        return (len(self.tokens) - 1) // self.length


def learner_on(device: str, spec: RunSpec, folder: Path, values: Values) -> Learner:
    """In round 0 at `values`; `folder` has the model's configuration and, for adapters, the base."""
    placement = place(spec, device, hardware())
    model = trained_model(spec, folder, placement)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(values[name])
    return begun(spec, model, placement)


@dataclass
class Crossed:
    """A run of two members, one on each device, of which each checks the other after every round.

    `scores` holds, by (sender's device, checker's), those of what was sent; `of_others` the same looked at as if it
    had been made of other samples.
    """

    spec: RunSpec
    texts: Texts
    learners: Mapping[str, Learner]
    size: int  # samples of a member in a round
    scores: Scores = field(default_factory=dict)
    of_others: Scores = field(default_factory=dict)
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def play(self, rounds: int) -> None:
        """Raises AssertionError when both devices do not hold the same state after a round."""
        check = self._local_round if self.spec.training.mode == "local" else self._gradient_round
        for round_ in range(rounds):
            own = dict(zip(self.learners, self._shares(round_), strict=True))
            check(own)
            digests = {learner.digest for learner in self.learners.values()}
            assert len(digests) == 1, f"round {round_}: the devices hold different states"

    def _shares(self, round_: int) -> Iterator[Range]:
        for place_ in range(len(self.learners)):
            start = (round_ * len(self.learners) + place_) * self.size % (self.texts.count - self.size)
            yield Range(start, start + self.size)

    def _pairs(
        self, own: Mapping[str, Range]
    ) -> Iterator[tuple[str, str, Subject, dict[tuple[str, str], list[float]]]]:
        """(sender, checker, what the checker is told, where the score goes)"""
        for sender, mine in own.items():
            others = control([mine], self.texts.count, self.rng)
            again = control([mine], self.texts.count, self.rng)
            for checker in own:
                yield sender, checker, Subject([mine], others), self.scores
                yield sender, checker, Subject(again, others), self.of_others

    def _gradient_round(self, own: Mapping[str, Range]) -> None:
        updates = {device: _learned(self.learners[device], self.texts, mine) for device, mine in own.items()}
        codec = self.spec.exchange.compression
        for sender, checker, subject, found in self._pairs(own):
            learner = self.learners[checker]
            assert isinstance(learner, GradientLearner)
            there = places(part.numel() for part in cut(vectors(updates[sender].tensors, codec)))
            look = travelled(updates[sender].tensors, there[:: max(1, len(there) // 8)], codec)
            kept = KeptGradient.of(learner, Seen(self.size, (look,)))
            looked = [one for one in ended(looks(learner, kept, subject, self.texts.load)) if one is not None]
            found.setdefault((sender, checker), []).extend(looked)
        mean = {
            name: torch.stack([update.tensors[name] for update in updates.values()]).mean(dim=0)
            for name in updates[next(iter(own))].tensors
        }
        average = measure(mean)
        for learner in self.learners.values():
            learner.apply(Applied(average.mean, average.norm, len(own) * self.size, len(own)))

    def _local_round(self, own: Mapping[str, Range]) -> None:
        updates = {device: _learned(self.learners[device], self.texts, mine) for device, mine in own.items()}
        sent = {device: self._contribution(update) for device, update in updates.items()}
        for sender, checker, subject, found in self._pairs(own):
            learner = self.learners[checker]
            assert isinstance(learner, LocalLearner)
            found.setdefault((sender, checker), []).append(self._score(learner, sent[sender], subject))
        shapes = {name: tuple(t.shape) for name, t in next(iter(updates.values())).tensors.items()}
        codec = codec_of(self.spec.local)
        for device, learner in self.learners.items():
            payload = sent[device].payload
            average = merged(codec, list(sent.values()), shapes, self.spec.local.clip, payload)
            samples = len(own) * self.size
            learner.apply(
                Applied(average.mean, average.norm, samples, len(own), taken=average.taken, lost=average.lost)
            )

    def _contribution(self, update: Update) -> Contribution:
        codec = codec_of(self.spec.local, update.device)
        return Contribution(self.size, encode(codec, {name: t.numpy() for name, t in update.tensors.items()}))

    def _score(self, checker: LocalLearner, sent: Contribution, subject: Subject) -> float:
        kept, load = Kept.of(checker, sent), self.texts.load
        both = (subject.own, subject.control)
        likely = likeness(kept.sent, *(ended(moved(checker, kept.start, part, load)) for part in both))
        return score(gain_of(*(ended(gains(checker, kept, part, load)) for part in both)), likely)


def _learned(learner: Learner, texts: Texts, own: Range) -> Update:
    done = own.start
    while done < own.stop and (room := min(learner.room(), own.stop - done)):
        learner.learn(texts.load(Range(done, done + room)))
        done += room
    return learner.update(len(own))


def summary(found: Mapping[tuple[str, str], Sequence[float]]) -> dict[str, list[float]]:
    """The least, the median and the largest, by who computed and who checked."""
    rows = {}
    for (sender, checker), scores in found.items():
        looked = (min(scores), statistics.median(scores), max(scores))
        rows[f"{sender} checked by {checker}"] = [round(one, 4) for one in looked]
    return rows
