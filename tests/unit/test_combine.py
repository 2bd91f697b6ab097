"""How updates become one: laws that hold for any peers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.codecs import codec_of, encode
from peer.combine import combined, weights
from peer.merge import Contribution, merge
from swarm.errors import CorruptError
from swarm.sections import Local

SHAPES = {"a": (3, 4), "b": (5,)}


def updates(count: int, sparse: bool = False) -> list[np.ndarray]:
    drawn = np.random.default_rng(0).standard_normal((count, 50)).astype(np.float32)
    return [np.where(np.abs(one) > 1, one, 0) if sparse else one for one in drawn]


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=9))
def test_weights_sum_to_one_and_none_is_worth_more_than_twice_the_median(samples: list[int]) -> None:
    found = weights(samples)
    assert sum(found) == pytest.approx(1)
    middle = sorted(found)[len(found) // 2] if len(found) % 2 else sum(sorted(found)[len(found) // 2 - 1 :][:2]) / 2
    assert max(found) <= 2 * middle * (1 + 1e-9)


def test_dense_updates_give_the_weighted_mean() -> None:
    parts = weights([1, 2, 3])
    found = combined(updates(3), parts, 0, sparse=False)
    assert found == pytest.approx(np.average(np.array(updates(3), np.float64), axis=0, weights=parts))


def test_one_peer_gives_its_own_update_bit_by_bit() -> None:
    [one] = updates(1, sparse=True)
    assert np.array_equal(combined([one], [1.0], 1.0, sparse=True), one.astype(np.float64))


def test_a_value_that_few_sent_is_divided_by_those_or_by_a_quarter_of_all() -> None:
    one, nothing = np.array([8.0, 0.0]), np.zeros(2)
    assert combined([one, *[nothing] * 7], [1 / 8] * 8, 0, sparse=True)[0] == 4.0  # sent once, divided by ceil(8 / 4)
    assert combined([one] * 4 + [nothing] * 4, [1 / 8] * 8, 0, sparse=True)[0] == 8.0


def test_an_update_far_larger_than_the_others_is_scaled_down() -> None:
    normal, loud = np.ones(100), np.full(100, 1e6)
    assert combined([normal, normal, loud], [1 / 3] * 3, 1.0, sparse=False).max() < 1.01
    assert combined([normal, normal, loud], [1 / 3] * 3, 0, sparse=False).max() > 1e5


def test_a_payload_that_cannot_be_read_is_left_out_whoever_sent_it() -> None:
    local = Local(codec="int8")
    codec = codec_of(local)
    good = encode(codec, {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()})
    loud = b"\xff" * len(good)
    alone = merge(codec, [Contribution(4, good)], SHAPES, 1.0).update
    for bad in (loud, good[:-1], b""):
        found = merge(codec, [Contribution(4, bad), Contribution(4, good)], SHAPES, 1.0).update
        assert all(np.array_equal(found[name], alone[name]) for name in SHAPES)
    with pytest.raises(CorruptError):
        merge(codec, [Contribution(4, loud)], SHAPES, 1.0)
