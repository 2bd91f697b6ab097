"""The decision whether something grows: it finds a leak of any kind by its name, and says nothing of noise."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.growth import Sample, growth
from tests.growth_runs import coordinator

LEVELS = {"peer MB": 180.0, "peer descriptors": 21.0, "DHT records": 4.0, "tasks": 9.0, "objects": 226_000.0}
NOISE = {"peer MB": 3.0, "peer descriptors": 2.0, "DHT records": 2.0, "tasks": 9.0, "objects": 400.0}


def samples(seed: int, rounds: int, leak: Callable[[int], dict[str, float]] = lambda _: {}) -> list[Sample]:
    """A hundred samples of a process that holds LEVELS with NOISE, and what leaked by then."""
    rng = random.Random(seed)
    found = []
    for round_ in range(rounds // 100, rounds + 1, rounds // 100):
        leaked = leak(round_)
        values = {name: LEVELS[name] + rng.uniform(0, NOISE[name]) + leaked.get(name, 0.0) for name in LEVELS}
        found.append(Sample(round_, values))
    return found


@pytest.mark.parametrize("rounds", [200, 1000, 10_000])
@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_growth(seed: int, rounds: int) -> None:
    assert growth(samples(seed, rounds)) == []


@pytest.mark.parametrize("name", sorted(LEVELS))
@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_found_and_named_and_nothing_else_is(seed: int, name: str) -> None:
    per_round = NOISE[name] / 200  # what the noise alone would hide within 200 rounds
    [sentence] = growth(samples(seed, 10_000, lambda round_: {name: round_ * per_round}))
    assert sentence.startswith(f"{name} grows by")


def test_what_rises_at_the_start_only_is_no_growth() -> None:
    assert growth(samples(1, 10_000, lambda round_: {"peer MB": min(round_, 4000) / 50})) == []


def test_one_step_is_no_growth() -> None:
    assert growth(samples(1, 10_000, lambda round_: {"peer MB": 20.0 * (round_ > 7000)})) == []


def test_what_is_kept_on_purpose_may_fill_up_to_its_bound() -> None:
    filling = [Sample(round_, {"closed leases": min(round_, 4096)}) for round_ in range(100, 4001, 100)]
    assert growth(filling) == []
    beyond = [Sample(round_, {"closed leases": round_}) for round_ in range(100, 10_001, 100)]
    assert growth(beyond) == ["closed leases grows by 1e+03 in 1,000 rounds; 1 would be noise"]


def test_too_few_samples_say_nothing() -> None:
    assert growth([]) == []
    assert growth([Sample(1, LEVELS)]) == []


def test_a_leak_in_a_real_coordinator_is_found(tmp_path: Path) -> None:
    """With 30 of its rounds: files that nobody removes are counted as they are there."""
    leaked = []
    for sample in coordinator(60, 2, tmp_path):
        (tmp_path / "blobs" / f"left-{sample.round}").write_bytes(b"")
        leaked.append(sample)
    assert [sentence.split(" grows")[0] for sentence in growth(leaked)] == ["files"]
