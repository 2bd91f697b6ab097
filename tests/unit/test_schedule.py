"""The learning rate: bounds, monotone warm-up and decay, continuity, the end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.schedule import learning_rate
from swarm.sections import Training


@st.composite
def trainings(draw: st.DrawFn) -> Training:
    rounds, batch = draw(st.integers(1, 1000)), draw(st.integers(1, 512))
    return Training(
        rounds=rounds,
        target_batch_size=batch,
        micro_batch_size=1,
        learning_rate=draw(st.floats(1e-6, 1.0)),
        warmup_samples=draw(st.integers(0, rounds * batch - 1)),
        schedule=draw(st.sampled_from(["cosine", "linear", "constant"])),
        min_lr_ratio=draw(st.just(0.0) | st.floats(1e-9, 1.0)),
    )


samples = st.integers(0, 1_000_000)


def rises(training: Training, seen: int) -> bool:
    return seen + training.target_batch_size < training.warmup_samples


@given(trainings(), samples)
def test_the_rate_lies_between_nothing_and_the_peak(training: Training, seen: int) -> None:
    rate = learning_rate(training, seen)
    assert 0 <= rate <= training.learning_rate
    if not rises(training, seen):
        assert rate >= training.learning_rate * training.min_lr_ratio * (1 - 1e-9)


@given(trainings(), samples)
def test_it_rises_in_the_warm_up_and_never_after(training: Training, seen: int) -> None:
    here, there = learning_rate(training, seen), learning_rate(training, seen + 1)
    if rises(training, seen):
        assert there > here
    else:
        assert there <= here


@given(trainings(), samples)
def test_it_never_jumps(training: Training, seen: int) -> None:
    step = abs(learning_rate(training, seen + 1) - learning_rate(training, seen)) / training.learning_rate
    total = training.rounds * training.target_batch_size
    # The steepest slope: of the warm-up, or of the cosine in its middle.
    slope = 1 / max(training.warmup_samples, 1) + 1.58 / (total - training.warmup_samples)
    assert step <= slope + 1e-9


@given(trainings())
def test_the_first_round_learns_and_the_last_has_the_lowest_rate(training: Training) -> None:
    total = training.rounds * training.target_batch_size
    last = learning_rate(training, total - training.target_batch_size)
    lowest = 1.0 if training.schedule == "constant" else training.min_lr_ratio
    assert learning_rate(training, 0) > 0 or training.min_lr_ratio == 0
    assert math.isclose(last, training.learning_rate * lowest, rel_tol=1e-9, abs_tol=1e-12)
    assert learning_rate(training, total + 10**9) == last


@pytest.mark.parametrize(("schedule", "half"), [("cosine", 0.55), ("linear", 0.55), ("constant", 1.0)])
def test_half_way(schedule: str, half: float) -> None:
    training = Training(rounds=10, target_batch_size=10, learning_rate=1.0, schedule=schedule)  # type: ignore[arg-type]
    assert learning_rate(training, 40) == pytest.approx(half)
