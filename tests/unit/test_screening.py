"""Which of a round's updates are left out for what is in them; the others' result is as if they had not been sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from peer.codecs import codec_of, encode
from peer.exchange.average import merged
from peer.merge import Contribution, merge
from swarm.errors import CorruptError
from swarm.sections import Local

SHAPES = {"a": (64, 128), "b": (4096,)}
SPARSE = codec_of(Local(codec="sparse", kept=256))


def honest(seed: int) -> dict[str, np.ndarray]:
    """What all have in common, and noise: so they choose many of the same values."""
    common, own = np.random.default_rng(99), np.random.default_rng(seed)
    return {
        name: (common.standard_t(3, shape) + 0.7 * own.standard_normal(shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }


def sent(update: dict[str, np.ndarray], samples: int = 8) -> Contribution:
    return Contribution(samples, encode(SPARSE, update))


def grabbed() -> dict[str, np.ndarray]:
    """Large values where nobody else has any."""
    mean = {name: np.mean([honest(seed)[name] for seed in range(5)], axis=0) for name in SHAPES}
    return {name: np.where(np.abs(v) < np.quantile(np.abs(v), 0.06), 1.0, 0.0) for name, v in mean.items()}


LIES = {
    "zeros": ({name: np.zeros(shape) for name, shape in SHAPES.items()}, "zeros"),
    "NaN": ({name: np.full(shape, np.nan) for name, shape in SHAPES.items()}, "not finite"),
    "inf": ({name: np.full(shape, np.inf) for name, shape in SHAPES.items()}, "not finite"),
    "large": ({name: 1000 * values for name, values in honest(7).items()}, "times the median"),
    "own indices": (grabbed(), "chosen by others"),
    "copy": (honest(2), "the same"),
    "sign flip": ({name: -values for name, values in honest(7).items()}, "points away"),
}


@pytest.mark.parametrize("kind", LIES)
def test_it_is_left_out_and_nothing_else_changes(kind: str) -> None:
    lie, why = LIES[kind]
    good = [sent(honest(seed)) for seed in range(5)]
    alone = merge(SPARSE, good, SHAPES, 1.0)
    found = merge(SPARSE, [*good, sent(lie)], SHAPES, 1.0)
    assert list(found.refused) == [5]
    assert why in found.refused[5]
    assert alone.refused == {}
    assert all(np.array_equal(found.update[name], alone.update[name]) for name in SHAPES)


@pytest.mark.parametrize("kind", [*LIES, "honest"])
def test_who_weighs_nothing_is_looked_at_and_changes_no_bit_however_many_they_are(kind: str) -> None:
    """Nor are they a measure for others: they are the majority here."""
    good = [sent(honest(seed)) for seed in range(4)]
    alone = merge(SPARSE, good, SHAPES, 1.0)
    crowd = [replace(sent(LIES[kind][0] if kind in LIES else honest(20 + n), 8 + 90 * n), share=0.0) for n in range(7)]
    found = merge(SPARSE, [*crowd, *good], SHAPES, 1.0)
    assert all(np.array_equal(found.update[name], alone.update[name]) for name in SHAPES)
    assert not set(found.refused) & {7, 8, 9, 10}
    assert set(found.refused) == (set() if kind == "honest" else set(range(7)))


def test_a_copy_is_that_of_who_weighs_less() -> None:
    good = [sent(honest(seed)) for seed in range(3)]
    found = merge(SPARSE, [replace(good[1], share=0.0), *good], SHAPES, 1.0)
    assert list(found.refused) == [0]


def test_a_share_is_a_part_of_the_weight() -> None:
    one, other = sent(honest(1)), sent(honest(2), samples=8)
    half = merge(SPARSE, [replace(one, samples=16, share=0.5), other], SHAPES, 0.0)
    even = merge(SPARSE, [replace(one, samples=8), other], SHAPES, 0.0)
    assert all(np.array_equal(half.update[name], even.update[name]) for name in SHAPES)


def test_where_nobody_weighs_there_is_no_update() -> None:
    with pytest.raises(CorruptError):
        merge(SPARSE, [replace(sent(honest(seed)), share=0.0) for seed in range(3)], SHAPES, 1.0)


@pytest.mark.parametrize("size", [0, 1, -1])
def test_another_size_is_left_out_before_it_is_read(size: int) -> None:
    good = [sent(honest(seed)) for seed in range(3)]
    bad = good[0].payload[:size] if size <= 0 else good[0].payload + b"x"
    assert list(merge(SPARSE, [Contribution(8, bad), *good], SHAPES, 1.0).refused) == [0]


def test_who_was_copied_has_given_its_update_and_who_was_refused_has_not() -> None:
    one, other, loud = sent(honest(0)), sent(honest(1)), sent({n: 1000 * v for n, v in honest(7).items()})
    found = [one, other, one, sent(honest(3)), loud]
    assert merged(SPARSE, found, SHAPES, 1.0, one.payload).taken.keys() == SHAPES.keys()
    assert merged(SPARSE, found, SHAPES, 1.0, loud.payload).taken == {}
    assert merged(SPARSE, found, SHAPES, 1.0, b"").taken == {}


def test_two_peers_have_no_majority_and_both_count() -> None:
    loud = sent({name: 1000 * values for name, values in honest(7).items()})
    assert merge(SPARSE, [sent(honest(0)), loud], SHAPES, 1.0).refused == {}


def test_a_round_in_which_nobody_moved_is_a_round() -> None:
    still = [Contribution(8 + n, encode(SPARSE, LIES["zeros"][0])) for n in range(3)]
    assert not any(values.any() for values in merge(SPARSE, still, SHAPES, 1.0).update.values())


def test_when_everybody_is_left_out_there_is_no_update() -> None:
    """Each of these numbers is finite, the norms of their updates are not."""
    exact = codec_of(Local(codec="none"))
    huge = [{name: np.full(shape, size) for name, shape in SHAPES.items()} for size in (1e200, -1e200)]
    with pytest.raises(CorruptError, match="No update of this round"), np.errstate(over="ignore"):
        merge(exact, [Contribution(8, encode(exact, update)) for update in huge], SHAPES, 1.0)
