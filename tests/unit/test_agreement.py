"""Who points where the others point: what a majority says of each, whatever a minority sends."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.agreement import trust
from peer.exact import products

VALUES = 4000


def drawn(peers: int, noise: float, seed: int = 0) -> np.ndarray:
    """What all have in common, of norm 1 for each value, and each one's noise."""
    draw = np.random.default_rng(seed)
    return draw.standard_normal(VALUES) + noise * draw.standard_normal((peers, VALUES))


def judged(rows: np.ndarray) -> tuple[list[float], set[int]]:
    weights, refused = trust(products(rows), rows.shape[1], [True] * len(rows))
    return weights, set(refused)


@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.floats(-30, 30))
def test_products_are_the_same_bits_in_whatever_order_they_are_added(width: int, seed: int, size: float) -> None:
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((4, width)) * np.array([1.0, 10.0**size, 3.0, 0.0])[:, None]
    found, norms = products(rows), np.linalg.norm(rows, axis=1)
    order = draw.permutation(width)
    assert np.array_equal(found, products(rows[:, order]))
    assert found == pytest.approx(rows @ rows.T, abs=2e-6 * (np.outer(norms, norms).max() or 1.0))


def test_the_bits_are_those_of_every_machine() -> None:
    """A change of this digest is a change of the protocol."""
    own = (np.arange(5 * 1000, dtype=np.float64).reshape(5, 1000) * 0.37) % 11 - 5
    common = (np.arange(1000) * 0.73) % 7 - 3
    found = products(own + np.array([1.0, 1.0, 1.0, 1.0, 0.65])[:, None] * common)
    weights, refused = trust(found, 1000, [True] * 5)
    assert not refused
    assert 0.0 < weights[4] < 1.0
    assert hashlib.sha256(found.tobytes() + np.array(weights).tobytes()).hexdigest()[:16] == "66187b2778e39537"


@pytest.mark.parametrize(("peers", "liars"), [(3, 1), (4, 1), (5, 1), (5, 2), (16, 3), (16, 7)])
@pytest.mark.parametrize("noise", [0.2, 1.0, 2.0])
def test_a_minority_that_turns_round_is_refused_and_nobody_else(peers: int, liars: int, noise: float) -> None:
    rows = drawn(peers, noise)
    honest = rows[liars:]
    for lie in (-rows[:liars], -2.5 * honest.mean(axis=0) * (1 + 0.001 * np.arange(liars))[:, None]):
        weights, refused = judged(np.concatenate([lie, honest]))
        assert refused == set(range(liars))
        assert weights == [0.0] * liars + [1.0] * (peers - liars)


@pytest.mark.parametrize("peers", [3, 5, 16])
def test_of_updates_that_have_nothing_in_common_one_of_a_hundred_is_taken_for_opposed(peers: int) -> None:
    draw, tries = np.random.default_rng(1), 200
    found = [judged(draw.standard_normal((peers, VALUES))) for _ in range(tries)]
    assert sum(len(refused) for _, refused in found) < 0.01 * peers * tries
    assert sum(weight for weights, _ in found for weight in weights) > 0.98 * peers * tries


def test_who_agrees_less_than_half_as_much_weighs_less_and_is_not_refused() -> None:
    rows = drawn(8, 1.0)
    rows[0] = 0.1 * rows[0] + drawn(1, 0.0, seed=7)[0]
    weights, refused = judged(rows)
    assert refused == set()
    assert 0.0 < weights[0] < 0.5
    assert weights[1:] == [1.0] * 7


def test_one_whose_noise_is_four_times_as_large_weighs_hardly_less() -> None:
    """As a gradient of a sixteenth of the samples, which weighs a sixteenth of the others' already."""
    rows = np.concatenate([drawn(7, 1.0), drawn(1, 4.0)])
    assert min(judged(rows)[0]) > 0.6


@pytest.mark.parametrize("peers", [1, 2])
def test_one_or_two_have_no_majority(peers: int) -> None:
    rows = np.array([[1.0] * 100, [-1.0] * 100])[:peers]
    assert judged(rows) == ([1.0] * peers, set())


def test_zeros_weigh_nothing_beside_others_and_everything_among_themselves() -> None:
    assert judged(np.concatenate([drawn(4, 1.0), np.zeros((1, VALUES))])) == ([1.0] * 4 + [0.0], set())
    assert judged(np.zeros((4, VALUES))) == ([1.0] * 4, set())


def test_who_weighs_nothing_is_looked_at_and_is_no_measure_however_many_they_are() -> None:
    rows = np.concatenate([-drawn(13, 1.0)[4:], drawn(4, 1.0)])
    weights, refused = trust(products(rows), VALUES, [False] * 9 + [True] * 4)
    assert weights == [0.0] * 9 + [1.0] * 4
    assert set(refused) == set(range(9))
