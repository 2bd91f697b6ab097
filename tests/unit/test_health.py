"""Whether a loss is a spike, and how many quarantines are too many."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peer import health
from peer.damage import hurt
from peer.finite import all_finite
from peer.health import Finding, Health
from swarm.faults import Fault
from tests.reference import plain_loop
from tests.unit.test_training import Script, model, spec


def findings(losses: Sequence[float]) -> list[Finding]:
    one = Health()
    return [found for loss in losses if (found := one.of_batch(loss))]


def noisy(rng: random.Random, level: float, count: int, spread: float = 0.1) -> list[float]:
    return [level * math.exp(rng.gauss(0.0, spread)) for _ in range(count)]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_found_at_once(loss: float) -> None:
    assert findings([loss]) == [Finding(Fault.NOT_FINITE, f"the loss is {loss}")]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32),
    st.floats(0.5, 12.0),
    st.floats(0.05, 1.0),
    st.floats(0.0, 0.2),
    st.integers(20, 300),
)
def test_a_beginning_and_a_plateau_are_no_spike(
    seed: int, first: float, last: float, spread: float, count: int
) -> None:
    """The loss falls from `first` to a part of it, quickly or slowly, with noise."""
    rng = random.Random(seed)
    pace = rng.uniform(0.005, 0.5)
    curve = [first * (last + (1 - last) * math.exp(-pace * step)) for step in range(count)]
    assert findings([loss * math.exp(rng.gauss(0.0, spread)) for loss in curve]) == []


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 100.0), st.floats(0.0, 0.1), st.floats(4.0, 1000.0))
def test_three_batches_far_above_are_a_spike_and_two_are_none(
    seed: int, level: float, spread: float, times: float
) -> None:
    rng = random.Random(seed)
    usual = noisy(rng, level, 40, spread)
    high = max(usual) * times
    assert findings([*usual, high, high, usual[0], high, high]) == []
    [found] = findings([*usual, high, high, high])
    assert found.fault is Fault.LOSS_SPIKE
    assert "after about" in found.why


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(1e-3, 1e3))
def test_the_bound_does_not_depend_on_the_unit(seed: int, unit: float) -> None:
    losses = noisy(random.Random(seed), 2.0, 30)
    assert health.bound([unit * loss for loss in losses]) == pytest.approx(unit * health.bound(losses))


def test_before_there_are_enough_batches_nothing_is_judged() -> None:
    usual = [2.0] * (health.ENOUGH - 3)
    assert findings([*usual, 50.0, 50.0, 50.0]) == []
    assert findings([*usual, 2.0, 2.0, 2.0, 50.0, 50.0, 50.0])


@pytest.mark.parametrize("size", [1, pytest.param(4, marks=pytest.mark.long)])
def test_a_real_loss_curve_has_no_spike(size: int) -> None:
    """The tiny model of the tests, from its first batch on, through its warm-up."""
    batches = iter(torch.split(Script(100 * size).tokens, size))
    curve = plain_loop(model(), batches, spec())
    assert len(curve) == 100
    assert findings(curve) == []


def test_five_quarantines_in_a_row_or_within_ten_rounds_are_too_many() -> None:
    one = Health()
    assert [one.quarantined() for _ in range(5)] == [1, 2, 3, 4, 5]
    assert health.MOST == 5
    for _ in range(10):
        one.round_done()
    assert one.quarantined() == 1
    for _ in range(4):
        one.round_done()
    assert one.quarantined() == 2


def test_each_in_a_row_waits_longer() -> None:
    assert [health.pause_after(count) for count in range(1, 6)] == [1, 2, 4, 8, 16]


def test_after_a_quarantine_the_loss_is_learned_anew() -> None:
    one = Health()
    for loss in [1.0] * 30:
        assert one.of_batch(loss) is None
    one.quarantined()
    assert [one.of_batch(100.0) for _ in range(5)] == [None] * 5


def test_looking_at_the_state_in_memory_takes_a_hundredth_of_the_time() -> None:
    assert not health.look_due(99.0, 1.0)
    assert health.look_due(100.0, 1.0)


def test_what_is_not_finite_or_not_the_same_has_a_reason() -> None:
    assert (health.of_update(True), health.of_state(True, 3), health.of_memory(True, 3)) == (None, None, None)
    assert "update" in str(health.of_update(False))
    assert "state of round 3" in str(health.of_state(False, 3))
    assert "memory" in str(health.of_memory(False, 3))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_number_among_many_is_seen(bad: float) -> None:
    many = torch.ones(1000)
    assert all_finite([many, torch.full((10,), 3e38)])  # their sum is not finite, but each of them is
    many[17] = bad
    assert not all_finite([torch.zeros(3), many])
    both = torch.tensor([math.inf, -math.inf])
    assert not all_finite([both])
    assert all_finite([])


def test_the_damage_that_a_plan_asks_for() -> None:
    tensors = {"a": torch.ones(4), "b": torch.ones(4)}
    hurt(tensors, "")
    assert torch.equal(tensors["a"], torch.ones(4))
    hurt(tensors, "flip")
    assert tensors["a"][0] != 1.0
    assert all_finite(tensors.values())
    hurt(tensors, "nan")
    assert not all_finite(tensors.values())
    assert torch.equal(tensors["b"], torch.ones(4))
