"""Gradient mode's part of bench_checks.py: what members send, and how near a checker finds it to what it should be."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from benchmarks.arena import Sent, flat, flipped, robust_gradients, tensors
from benchmarks.attacks import ATTACKS, Scene
from benchmarks.replicas import Ground
from coordinator.spotchecks import control
from peer.codecs import Shapes
from peer.exchange.average import measure
from peer.exchange.base import Applied, Seen, Update
from peer.exchange.butterfly import CODECS, part_size, places, vectors
from peer.exchange.parts import cut, shares
from peer.gradient_check import KeptGradient, looks, travelled
from peer.learner import GradientLearner
from peer.recomputation import Subject
from swarm.ranges import Range
from swarm.runspec import RunSpec
from tests.steps import ended

from hivemind.averaging.partition import TensorPartContainer  # isort: skip - after peer.exchange


@dataclass(frozen=True)
class Kind:
    """What a member does: the part of its samples that it looks at, or others; in what it computes, how many at once;
    and the attack of `benchmarks/attacks.py` that its gradient then goes through.
    """

    part: float = 1.0
    elsewhere: bool = False
    compute: torch.dtype = torch.float32
    at_once: int = 4
    attack: str = ""


KINDS = {
    "honest": Kind(at_once=3),
    "honest, bf16": Kind(compute=torch.bfloat16),
    "honest, fp16": Kind(compute=torch.float16),
    "other data": Kind(elsewhere=True),
    "seven eighths of the samples": Kind(part=7 / 8),
    "half of the samples": Kind(part=1 / 2),
    **{name: Kind(attack=name) for name in ("label flip", "sign flip", "copies", "constant direction", "zeros")},
}
HONEST = 3  # members that make the run, with the one that checks


@dataclass
class GradientArena:
    """All hold the same θ, so one learner stands for all. Those of `kinds` are checked in every `every`th round."""

    ground: Ground
    spec: RunSpec
    kinds: Sequence[str]
    size: int  # samples of a member in a round
    every: int
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def scores(self) -> Iterator[tuple[str, float]]:
        """(kind, the worst look) of every check."""
        learner = self.ground.learner(self.spec)
        assert isinstance(learner, GradientLearner)
        for round_ in range(self.spec.training.rounds):
            seats = HONEST + len(self.kinds)
            own = [self._share(round_ * seats + place) for place in range(seats)]
            honest = [self._gradient(learner, Kind(), mine) for mine in own[:HONEST]]
            if round_ % self.every == 0:
                for name, mine in zip(self.kinds, own[HONEST:], strict=True):
                    yield name, self._score(learner, self._sent(learner, KINDS[name], mine, honest), mine)
            self._end_round(learner, honest)

    @property
    def _epoch(self) -> int:
        return self.ground.samples_per_epoch

    def _share(self, number: int) -> Range:
        start = number * self.size % (self._epoch - self.size)
        return Range(start, start + self.size)

    def _gradient(self, learner: GradientLearner, kind: Kind, own: Range) -> Update:
        gradients = learner.gradients.apart()
        gradients.placement, gradients.micro_batch = replace(gradients.placement, compute=kind.compute), kind.at_once
        if kind.elsewhere:
            own = self._share(self.rng.randrange(self._epoch))
        samples = self.ground.batches.load(Range(own.start, own.start + round(len(own) * kind.part)))
        gradients.add(flipped(samples) if kind.attack and ATTACKS[kind.attack].flips else samples)
        return Update(learner.round, learner.digest, self.size, gradients.mean(len(samples)))

    def _sent(
        self, learner: GradientLearner, kind: Kind, own: Range, honest: Sequence[Update]
    ) -> dict[str, torch.Tensor]:
        mine = self._gradient(learner, kind, own)
        if not kind.attack:
            return mine.tensors
        scene = Scene(flat(mine), [flat(one) for one in honest], [], HONEST + 1, 0)
        return tensors(ATTACKS[kind.attack].send(scene), _shapes(mine))

    def _score(self, learner: GradientLearner, sent: dict[str, torch.Tensor], own: Range) -> float:
        """As one of three reducers sees it."""
        codec = self.spec.exchange.compression
        seen = self._added(sent) if self.spec.exchange.aggregation == "mean" else self._clipped(sent)
        kept = KeptGradient.of(learner, Seen(self.size, tuple(travelled(sent, look, codec) for look in seen)))
        subject = Subject([own], control([own], self._epoch, self.rng))
        found = ended(looks(learner, kept, subject, self.ground.batches.load))
        return min(one for one in found if one is not None)

    def _clipped(self, sent: dict[str, torch.Tensor]) -> list[list[Range]]:
        """Where its parts are, and one of another's."""
        there = places(part.numel() for part in cut(vectors(sent, self.spec.exchange.compression)))
        mine = shares([len(place) for place in there], HONEST)[0]
        drawn = self.rng.choice([place for index, place in enumerate(there) if index not in mine])
        return [there[mine.start : mine.stop], [drawn]]

    def _added(self, sent: dict[str, torch.Tensor]) -> list[list[Range]]:
        """Where its parts of the plain mean are."""
        codec = self.spec.exchange.compression
        flats, coder = vectors(sent, codec), CODECS[codec]()
        size = part_size(flats, codec, HONEST)
        container = TensorPartContainer(flats, [1.0] * HONEST, compression=coder, part_size_bytes=size)
        return [places(part.numel() for part in container.get_raw_input_parts(0))]

    def _end_round(self, learner: GradientLearner, honest: Sequence[Update]) -> None:
        shapes = _shapes(honest[0])
        mean, _, _ = robust_gradients([Sent(self.size, flat(one)) for one in honest], shapes)
        average = measure(tensors(mean, shapes))
        learner.apply(Applied(average.mean, average.norm, HONEST * self.size, HONEST))


def _shapes(update: Update) -> Shapes:
    return {name: tuple(values.shape) for name, values in update.tensors.items()}
