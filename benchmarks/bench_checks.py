"""How often honest members and others pass spot checks: replicas in one process, one of which checks the rest.

python benchmarks/bench_checks.py [--quick] [--only local|overlap|gradient|large]

A Llama of 65 thousand parameters learns the built-in text in local mode, once with sparse updates and error feedback,
once with int8 ones: 15 steps of 4 samples in a round. Three honest replicas make the run; beside them each kind of
cheater follows it with an error feedback of its own, but its updates are left out, so that all cheat against the same
run. The first replica checks all others with the peers' own code, in every other round from the ninth on.
With `local.overlap` some or all steps of a round are taken while the update of the round before travels.

In gradient mode each member takes 16 samples in a round, with each of the exchange's codecs; every other round is
checked (`checked_gradients.py`), also with the plain mean, where a model of 3.3 million parameters is checked, too
(`large`). `--only` keeps the others' figures.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from benchmarks.arena import Game, flat, flipped, tensors
from benchmarks.attacks import ATTACKS, Scene
from benchmarks.checked_gradients import KINDS as GRADIENT_KINDS
from benchmarks.checked_gradients import GradientArena
from benchmarks.replicas import Ground
from benchmarks.results import earlier, record
from coordinator.spotchecks import control
from coordinator.trust import CLEARED, CONDEMNED, says
from peer.codecs import Shapes, codec_of, encode
from peer.exchange.average import measure
from peer.exchange.base import Applied
from peer.local_mode import LocalLearner
from peer.merge import Contribution, merge, understood
from peer.recomputation import Kept, gains, moved
from peer.spotcheck import NEAR, gain_of, likeness, margin, score
from swarm.ranges import Range
from swarm.runspec import RunSpec
from swarm.sections import Local
from tests.steps import ended

HONEST = 3  # replicas, with the one that checks
STORIES = 2000  # of sequential tests
GRADIENT_CODECS = ("none", "fp16", "8bit")
STEPS = 15  # of a round
OVERLAPPING = (7, STEPS)
SMALL = Game("gradient", rounds=40, size=16)
LARGE = replace(SMALL, width=256, layers=4)
CODECS = {"sparse": 56, "int8": 32}  # and the rounds of a game


@dataclass(frozen=True)
class Kind:
    """What a member does: the part of its steps that it takes, on its own samples or elsewhere, and the attack of
    `benchmarks/attacks.py` that its update then goes through.
    """

    part: float = 1.0
    elsewhere: bool = False
    attack: str = ""


KINDS = {
    "honest": Kind(),
    "other data": Kind(elsewhere=True),
    "half of the steps": Kind(part=1 / 2),
    "an eighth of the steps": Kind(part=1 / 8),
    **{name: Kind(attack=name) for name in ("label flip", "sign flip", "copies", "constant direction", "zeros")},
}
QUICK_KINDS = ("honest", "other data")


@dataclass
class Arena:
    """The honest replicas, then one of each other kind; `first` is the first round that is checked. The first `early`
    steps of a round are taken while the update of the round before travels (`local.overlap`).
    """

    ground: Ground
    spec: RunSpec
    kinds: Sequence[str]
    first: int
    early: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def scores(self) -> Iterator[tuple[str, float, float]]:
        """(kind, score of both measures, of the losses alone) of every check."""
        learners = [self._learner() for _ in self.kinds]
        for round_ in range(self.spec.training.rounds):
            own = [self._share(round_, place) for place in range(len(learners))]
            self._teach(learners, round_, range(self.early if round_ else 0, self.spec.local.steps))
            sent, shapes = self._sent(learners)
            self._teach(learners, round_ + 1, range(self.early))
            if round_ >= self.first and round_ % 2 == 0:
                for place in range(1, len(learners)):
                    yield (self.kinds[place], *self._check(learners[0], sent[place], own[place]))
            self._end_round(learners, sent, shapes)

    def _learner(self) -> LocalLearner:
        learner = self.ground.learner(self.spec)
        assert isinstance(learner, LocalLearner)
        return learner

    @property
    def _size(self) -> int:
        return self.spec.local.steps * self.spec.local.batch_size

    @property
    def _epoch(self) -> int:
        return self.ground.samples_per_epoch

    def _share(self, round_: int, place: int) -> Range:
        """A replica's samples of a round."""
        start = (round_ * len(self.kinds) + place) * self._size
        start -= max(0, start % self._epoch + self._size - self._epoch)  # in one epoch
        return Range(start, start + self._size)

    def _sent(self, learners: Sequence[LocalLearner]) -> tuple[list[Contribution], Shapes]:
        codec = codec_of(self.spec.local)
        updates = [learner.update(self._size) for learner in learners]
        shapes = {name: tuple(tensor.shape) for name, tensor in updates[0].tensors.items()}
        vectors = [flat(update) for update in updates]
        found = []
        for place, kind in enumerate(self.kinds):
            if attack := KINDS[kind].attack:
                scene = Scene(vectors[place], vectors[1:HONEST], [], len(self.kinds), place)
                vectors[place] = scene.disguised(ATTACKS[attack].send(scene))
            values = {name: tensor.numpy() for name, tensor in tensors(vectors[place], shapes).items()}
            found.append(Contribution(self._size, encode(codec, values)))
        return found, shapes

    def _teach(self, learners: Sequence[LocalLearner], round_: int, steps: range) -> None:
        """Those steps of a round, as far as members of their kinds take them."""
        for place, learner in enumerate(learners):
            self._teach_one(learner, round_, place, steps)

    def _teach_one(self, learner: LocalLearner, round_: int, place: int, steps: range) -> None:
        local, kind = self.spec.local, KINDS[self.kinds[place]]
        begin = self._share(round_, place).start
        if kind.elsewhere:
            begin = random.Random(f"{round_}/{place}").randrange(self._epoch - self._size)
        for step in steps[: max(0, max(1, round(local.steps * kind.part)) - steps.start)]:
            start = begin + step * local.batch_size
            samples = self.ground.batches.load(Range(start, start + local.batch_size))
            flips = kind.attack and ATTACKS[kind.attack].flips
            learner.learn(flipped(samples) if flips else samples)

    def _check(self, checker: LocalLearner, sent: Contribution, own: Range) -> tuple[float, float]:
        """The checker's own steps of the round wait in its model meanwhile, and are there again afterwards."""
        kept, load = Kept.of(checker, sent), self.ground.batches.load
        others = control([own], self._epoch, self.rng)
        likely = likeness(kept.sent, *(ended(moved(checker, kept.start, part, load)) for part in ([own], others)))
        gain = gain_of(*(ended(gains(checker, kept, part, load)) for part in ([own], others)))
        return score(gain, likely), score(gain, None)

    def _end_round(self, learners: Sequence[LocalLearner], sent: Sequence[Contribution], shapes: Shapes) -> None:
        local, codec = self.spec.local, codec_of(self.spec.local)
        average = measure(
            {name: torch.from_numpy(v) for name, v in merge(codec, sent[:HONEST], shapes, local.clip).update.items()}
        )
        for learner, one in zip(learners, sent, strict=True):
            taken = {name: torch.from_numpy(v) for name, v in understood(codec, one.payload, shapes).items()}
            learner.apply(Applied(average.mean, average.norm, HONEST * self._size, HONEST, taken=taken))
        assert len({learner.digest for learner in learners}) == 1, "the replicas differ"


def decided(passes: Sequence[bool], rng: random.Random) -> tuple[bool, int]:
    """Whether Wald's test (1945) condemns one whose answers are like these, and after how many checks."""
    evidence = 0.0
    for made in count(1):
        evidence += says(rng.choice(passes))
        if not CLEARED < evidence < CONDEMNED:
            return evidence >= CONDEMNED, made
    raise AssertionError


def row(scores: Sequence[float], least: float) -> dict[str, Any]:
    """What is written of one kind and one way of checking."""
    passes, rng = [one >= least for one in scores], random.Random(1)
    ends = [decided(passes, rng) for _ in range(STORIES)]
    return {
        "checks": len(scores),
        "score": [round(float(part), 3) for part in np.quantile(scores, [0.05, 0.5, 0.95])],
        "passed_percent": round(100 * sum(passes) / len(passes), 1),
        "condemned_by_the_first_test_percent": round(100 * sum(condemned for condemned, _ in ends) / STORIES, 1),
        "checks_until_it_decides": statistics.median(made for _, made in ends),
    }


def summary(found: Sequence[tuple[str, float, float]], least: float) -> Mapping[str, Any]:
    """By way of checking and kind."""
    kinds = list(dict.fromkeys(kind for kind, *_ in found))
    ways = {"both measures": 1, "losses alone": 2}
    return {
        way: {kind: row([one[place] for one in found if one[0] == kind], least) for kind in kinds}  # type: ignore[misc]
        for way, place in ways.items()
    }


def main() -> None:
    """Play and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute; writes nothing")
    parser.add_argument("--only", choices=("local", "overlap", "gradient", "large"), help="check this alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    figures = earlier("checks") if options.only else {}
    if options.only in (None, "local"):
        figures |= {codec: of_updates(codec, 0, options.quick) for codec in CODECS}
    if options.only in (None, "overlap"):
        figures |= {
            f"{codec}, {early} of {STEPS} steps overlap": of_updates(codec, early, options.quick)
            for codec in CODECS
            for early in OVERLAPPING
        }
    if options.only in (None, "gradient"):
        figures |= {f"gradient, {codec}": of_gradients(codec, options.quick) for codec in GRADIENT_CODECS}
        figures["gradient, 8bit, plain mean"] = of_gradients("8bit", options.quick, "mean")
    if options.only in (None, "gradient", "large"):
        figures["gradient, 8bit, plain mean, 3.3 million"] = of_gradients("8bit", options.quick, "mean", LARGE)
    record("checks", figures, options.quick)


def of_updates(codec: str, early: int, quick: bool) -> dict[str, Any]:
    """The figures of local mode, where so many steps overlap."""
    game = Game("local", rounds=4 if quick else CODECS[codec], steps=STEPS, codec=codec, kept=64, outer=0.7)
    found = scores(game, QUICK_KINDS if quick else tuple(KINDS), early, first=1 if quick else 8)
    least = margin(Local.model_validate({"codec": codec, "overlap": early > 0}))
    return {"margin": least, "rounds": game.rounds, "checks": summary(found, least)}


def of_gradients(codec: str, quick: bool, aggregation: str = "centered_clip", game: Game = SMALL) -> dict[str, Any]:
    """The figures of gradient mode."""
    game = replace(game, rounds=2) if quick else game
    kinds = (*QUICK_KINDS, "half of the samples") if quick else tuple(GRADIENT_KINDS)
    with tempfile.TemporaryDirectory() as temporary:
        spec = game.spec(Path(temporary), HONEST)
        exchange = spec.exchange.model_copy(update={"compression": codec, "aggregation": aggregation})
        ground = Ground.prepare(spec, Path(temporary) / "ground")
        arena = GradientArena(ground, spec.model_copy(update={"exchange": exchange}), kinds, game.size, every=2)
        found = list(arena.scores())
    rows = {kind: row([value for name, value in found if name == kind], NEAR) for kind in kinds}
    return {"margin": NEAR, "rounds": game.rounds, "checks": {"nearness": rows}}


def scores(game: Game, kinds: Sequence[str], early: int, first: int) -> list[tuple[str, float, float]]:
    """Those of all checks of a game."""
    with tempfile.TemporaryDirectory() as temporary:
        spec = game.spec(Path(temporary), HONEST)
        ground = Ground.prepare(spec, Path(temporary) / "ground")
        local = spec.local.model_copy(update={"overlap": early > 0})
        spec = spec.model_copy(update={"local": local})
        return list(Arena(ground, spec, [*["honest"] * (HONEST - 1), *kinds], first, early).scores())


if __name__ == "__main__":
    main()
