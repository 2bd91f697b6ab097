"""A checker makes another member's gradient again: what it then says of honest members and of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from peer.checker import kept_of
from peer.codecs import Floats
from peer.exchange.average import measure
from peer.exchange.base import Applied, Seen
from peer.exchange.butterfly import places, vectors
from peer.exchange.parts import cut, decoded, encoded
from peer.gradient_check import KeptGradient, examined
from peer.learner import GradientLearner
from peer.recomputation import Subject
from peer.spotcheck import NEAR, Verdict, near, nearness
from swarm.ranges import Range
from swarm.runspec import loads
from tests.local_swarm import SPEC, begun, load
from tests.steps import ended

OWN, CONTROL = [Range(64, 76), Range(80, 84)], [Range(128, 144)]
SIZE = 16
CODECS = ("none", "fp16", "8bit")


def learner(tmp_path: Path, codec: str = "none") -> GradientLearner:
    settings = f'\n[exchange]\naggregation = "centered_clip"\ncompression = "{codec}"\n'
    spec = SPEC.format(local="").replace('"local"', '"gradient"').replace("rounds = 3", "rounds = 99") + settings
    made = begun(loads(spec), tmp_path)
    assert isinstance(made, GradientLearner)
    return made


def gradient(member: GradientLearner, *positions: Range) -> dict[str, torch.Tensor]:
    for part in positions:
        member.learn(load(part))
    tensors = member.update(sum(map(len, positions))).tensors
    member.discard()
    return tensors


def parts(member: GradientLearner, tensors: dict[str, torch.Tensor]) -> dict[Range, Floats]:
    codec = member.spec.exchange.compression
    found = cut(vectors(tensors, codec))
    there = places(part.numel() for part in found)
    return {place: read(encoded(part, codec), len(place), codec) for place, part in zip(there, found, strict=True)}


def read(data: bytes, count: int, codec: str) -> Floats:
    values = decoded(data, count, codec)
    assert values is not None
    return values


def seen(member: GradientLearner, *positions: Range, samples: int = SIZE) -> Seen:
    return Seen(samples, (parts(member, gradient(member, *positions)),))


def checked(own: GradientLearner, found: Seen) -> Verdict:
    return ended(examined(own, KeptGradient.of(own, found), Subject(OWN, CONTROL), load))


@pytest.mark.parametrize("codec", CODECS)
def test_who_trained_on_its_samples_passes_and_nobody_else_does(tmp_path: Path, codec: str) -> None:
    own, member = learner(tmp_path, codec), learner(tmp_path, codec)
    own.gradients.micro_batch = 3
    found = checked(own, seen(member, *OWN))
    assert found.passed
    assert "its gradient is 1.00 near" in found.why
    for others in ([Range(200, 216)], [Range(64, 72)], CONTROL):
        assert checked(own, seen(member, *others)).passed is False, others


def test_more_samples_than_were_counted_fail_without_looking(tmp_path: Path) -> None:
    own = learner(tmp_path)
    found = checked(own, seen(own, *OWN, samples=17))
    assert found == Verdict(False, "it said that it sent an update of 17 samples, and 16 were counted")


def test_parts_that_could_not_be_read_fail(tmp_path: Path) -> None:
    own = learner(tmp_path)
    assert checked(own, Seen(SIZE, ({Range(0, 1000): np.zeros(1000, np.float32)},))).passed is False


def test_one_part_that_is_not_from_the_samples_is_enough(tmp_path: Path) -> None:
    """Who knows which parts a checker averages might send true ones there."""
    own, member = learner(tmp_path, "8bit"), learner(tmp_path, "8bit")
    true, false = (parts(member, gradient(member, *where)) for where in (OWN, CONTROL))
    place = list(true)[3]
    drawn = {place: false.pop(place)}
    true.pop(place)
    assert checked(own, Seen(SIZE, (true,))).passed
    assert checked(own, Seen(SIZE, (true, drawn))).passed is False


def test_the_checkers_own_rounds_go_on_between_the_steps(tmp_path: Path) -> None:
    own, member = learner(tmp_path), learner(tmp_path)
    found = seen(member, *OWN)
    alone = checked(learner(tmp_path), found)
    steps = examined(own, KeptGradient.of(own, found), Subject(OWN, CONTROL), load)

    def go_on() -> None:
        assert own.intact(), "the agreed state is where it was"
        average = measure(gradient(member, Range(0, 8)))
        for one in (own, member):
            one.apply(Applied(average.mean, average.norm, 8, 2))
        assert own.digest == member.digest

    assert ended(steps, go_on) == alone
    assert own.round == 8, "a step for each four samples"


def test_nobody_sees_the_agreed_state_while_the_model_is_elsewhere(tmp_path: Path) -> None:
    own = learner(tmp_path)
    with own.aside():
        own.put({name: torch.zeros_like(values) for name, values in own.parameters.items()})
        assert own.lock.locked()
    assert not own.lock.locked()
    assert own.intact()


def test_a_round_is_kept_once_something_of_the_member_was_seen_in_it(tmp_path: Path) -> None:
    own = learner(tmp_path)
    result = Applied({}, 0.0, SIZE, 2, seen={"anna": seen(own, *OWN)})
    assert kept_of(own, result, "ben") is None
    again = kept_of(own, result, "anna")
    assert again
    own.parameters["lm_head.weight"].data.zero_()
    assert ended(again(Subject(OWN, CONTROL), load)).passed, "from the θ that was kept"


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def drawn(*seeds: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).standard_normal(5000).astype(np.float32) for seed in seeds]


@pytest.mark.parametrize("common", [0.0, 10.0])
def test_nearness_is_of_what_the_samples_alone_give(common: float) -> None:
    shared, one, two, other, control = drawn(1, 2, 3, 4, 5)
    own = common * shared + (one + two) / 2

    def of(sent: np.ndarray) -> float:
        found = nearness([sent], [own], [common * shared + control / 2**0.5])
        assert found is not None
        return found

    assert of(own) == 1.0
    assert of(common * shared + one) == pytest.approx(1 - 0.5**0.5, abs=0.03)
    assert of(common * shared + other / 2**0.5) == pytest.approx(0.0, abs=0.03)
    assert of(-own) < -0.3


def test_where_own_and_others_are_alike_nothing_is_said() -> None:
    [one, two] = drawn(1, 2)
    assert nearness([two], [one], [one]) is None
    assert nearness([two], [one * np.nan], [one]) is None
    assert near([None]).passed is None
    assert near([None, 0.99]).passed
    assert near([0.99, NEAR - 0.01]).passed is False
