"""The clipped mean: close to the mean of honest peers, out of reach for a few others, the same bits everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.combine import weights
from peer.exact import row_norms, row_sums
from peer.robust import centered_clip, robust_mean


def rows(peers: int, noise: float = 1.0, size: int = 2000, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    signal = draw.standard_normal(size)
    return (signal + noise * draw.standard_normal((peers, size))).astype(np.float32).astype(np.float64)


@given(st.integers(1, 5), st.integers(0, 70))
def test_sums_are_those_of_all_values(peers: int, width: int) -> None:
    values = np.random.default_rng(width).integers(-100, 100, (peers, width)).astype(np.float64)
    assert np.array_equal(row_sums(values), values.sum(axis=1))


def test_the_bits_are_those_of_every_machine() -> None:
    """Each operation is one of IEEE 754's on each element; a change of this digest is a change of the protocol."""
    values = (np.arange(7 * 1000, dtype=np.float64).reshape(7, 1000) * 0.37) % 11 - 5
    mean, _ = robust_mean(values.astype(np.float32).astype(np.float64), [3, 8, 8, 8, 9, 10, 40])
    assert hashlib.sha256(mean.tobytes()).hexdigest()[:16] == "997484674a08532b"


@pytest.mark.parametrize("peers", [1, 2])
def test_one_or_two_peers_give_the_weighted_mean(peers: int) -> None:
    values, samples = rows(peers), [3, 8][:peers]
    expected = np.average(values, axis=0, weights=weights(samples))
    assert centered_clip(values, weights(samples)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("noise", "bias"), [(0.1, 0.01), (1.0, 0.01), (4.0, 0.01), (10.0, 0.4)])
def test_honest_peers_get_nearly_their_mean(noise: float, bias: float) -> None:
    """The bias, against the mean's own distance from the truth that it estimates. Where they have next to nothing in
    common one of them is left out by chance.
    """
    values = rows(8, noise)
    mean = values.mean(axis=0)
    found, refused = robust_mean(values, [8] * 8)
    assert refused == {}
    error = noise * np.sqrt(values.shape[1] / 8)
    assert np.linalg.norm(found - mean) < bias * error


def test_peers_of_very_different_speed_get_nearly_their_mean_too() -> None:
    """From 1 to 16 samples: the noise of those with few is clipped, which costs a hundredth of accuracy."""
    draw, samples = np.random.default_rng(5), np.array([1, 2, 4, 8, 8, 16, 16, 16])
    truth = draw.standard_normal(2000)
    values = truth + 4 * draw.standard_normal((8, 2000)) / np.sqrt(samples)[:, None]
    found, refused = robust_mean(values, samples.tolist())
    assert refused == {}
    exact = np.linalg.norm(np.average(values, axis=0, weights=samples) - truth)
    assert np.linalg.norm(found - truth) < 1.02 * exact


@pytest.mark.parametrize("liars", [3, 7])
def test_a_minority_moves_it_no_further_than_honest_peers_stray(liars: int) -> None:
    honest = rows(16 - liars)
    strays = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
    for lie in (-honest[:liars], 1e3 * honest[:liars], np.full((liars, 2000), 2.0), honest[:1].repeat(liars, 0) * 0):
        found, _ = robust_mean(np.concatenate([honest, lie]), [8] * 16)
        assert np.linalg.norm(found - honest.mean(axis=0)) < 0.01 * strays
        found = centered_clip(np.concatenate([honest, lie]), [1 / 16] * 16)  # of those that get past the rest
        assert np.linalg.norm(found - honest.mean(axis=0)) < {3: 0.25, 7: 1.06}[liars] * strays


def test_a_large_or_endless_update_is_refused_and_the_rest_is_as_without_it() -> None:
    honest = rows(5)
    alone, _ = robust_mean(honest, [8] * 5)
    for lie in (np.full(2000, np.nan), np.full(2000, np.inf), honest[0] * 1e6):
        found, refused = robust_mean(np.concatenate([honest, lie[None]]), [8] * 6)
        assert list(refused) == [5]
        assert np.array_equal(found, alone)


def test_the_gradient_of_few_samples_may_be_noisier() -> None:
    values = np.concatenate([rows(4, 1.0), rows(1, 8.0, seed=1)])
    assert robust_mean(values, [64] * 5)[1].keys() == {4}
    assert robust_mean(values, [64, 64, 64, 64, 4])[1] == {}


def test_when_everybody_is_refused_nothing_is_left() -> None:
    mean, refused = robust_mean(np.full((2, 4), np.nan), [1, 1])
    assert np.array_equal(mean, np.zeros(4, np.float32))
    assert len(refused) == 2


def test_norms_are_exact_where_they_can_be() -> None:
    assert row_norms(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [5.0, 0.0]


@pytest.mark.parametrize("size", [1.0, 1e6, np.nan])
def test_who_weighs_nothing_changes_no_bit_however_many_they_are(size: float) -> None:
    draw = np.random.default_rng(5)
    honest = draw.standard_normal((4, 300)).astype(np.float32).astype(np.float64)
    crowd = (size * draw.standard_normal((9, 300))).astype(np.float32).astype(np.float64)
    alone, _ = robust_mean(honest, [8, 9, 10, 8])
    found, refused = robust_mean(np.concatenate([crowd, honest]), [64] * 9 + [8, 9, 10, 8], [0.0] * 9 + [1.0] * 4)
    assert np.array_equal(found, alone)
    assert set(refused) == (set() if size == 1.0 else set(range(9)))


def test_a_minority_that_turns_round_is_as_if_it_were_absent() -> None:
    honest = rows(9)
    alone, _ = robust_mean(honest, [8] * 9)
    lies = -2.5 * honest.mean(axis=0) * (1 + 0.001 * np.arange(7))[:, None]
    found, refused = robust_mean(np.concatenate([honest, lies]), [8] * 16)
    assert set(refused) == set(range(9, 16))
    assert np.array_equal(found, alone)


def test_who_sends_always_the_same_is_let_go_of() -> None:
    """As long as an update may be, and with no bearing on the others'."""
    honest, draw = rows(4, 2.0), np.random.default_rng(9)
    constant = draw.standard_normal(2000)
    constant *= 2.9 * np.linalg.norm(honest[0]) / np.linalg.norm(constant)
    found, _ = robust_mean(np.concatenate([honest, constant[None]]), [8] * 5)
    assert np.linalg.norm(found - honest.mean(axis=0)) < 0.03 * np.linalg.norm(constant)
