"""Nothing grows with the rounds; 10,000 of them are in benchmarks/bench_growth.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.growth import growth
from tests.growth_runs import coordinator, peers


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.timeout(600)
@pytest.mark.parametrize("settings", [{}, {"local": "int8"}], ids=["gradient mode", "local mode"])
def test_nothing_grows_in_two_real_peers(settings: dict[str, str]) -> None:
    found = peers(rounds=2000, every=50, **settings)
    assert {name: samples[-1].round for name, samples in found.items()} == {"peer 0": 2000, "peer 1": 2000}
    assert {name: growth(samples) for name, samples in found.items()} == {"peer 0": [], "peer 1": []}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_nothing_grows_in_a_coordinator(tmp_path: Path) -> None:
    assert growth(list(coordinator(rounds=3000, every=50, folder=tmp_path))) == []
