"""A crowd keeps every rule, whatever befalls its members; see `benchmarks/bench_simulator.py` for a larger one."""

from __future__ import annotations

import pytest

from tests.simulator.crowd import SAMPLES, Crowd, Odds


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_keeps_every_rule(seed: int) -> None:
    crowd = Crowd(200, seed)
    crowd.run(60)
    assert crowd.round + crowd.failed_rounds == 60
    assert crowd.round > 40
    assert crowd.state.round == crowd.round
    assert crowd.state.ledger.counted_samples > 0.6 * 200 * SAMPLES * crowd.round


def test_a_crowd_that_often_falls_apart_makes_fewer_rounds_and_keeps_every_rule() -> None:
    crowd = Crowd(100, 1, Odds(killed=0.1, back=0.2, silent=0.2, flips=0.02, leader_dies=0.2, cut=0.3))
    crowd.run(100)
    assert crowd.failed_rounds > 10
    assert crowd.round > 10


def test_the_same_seed_tells_the_same_story() -> None:
    one, two = Crowd(50, 7), Crowd(50, 7)
    one.run(20)
    two.run(20)
    assert one.state == two.state
