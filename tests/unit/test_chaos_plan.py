"""A plan is the same for the same seed, and asks of a swarm no more than what it promises."""

from __future__ import annotations

import pytest

from tests.chaos.plan import ANYWHERE, IN_A_LAB, MEANS, Kind, plan


@pytest.mark.parametrize("kinds", [ANYWHERE, IN_A_LAB])
@pytest.mark.parametrize("peers", [3, 6, 8])
def test_fewer_than_half_of_the_peers_are_in_trouble_at_a_time(peers: int, kinds: tuple[Kind, ...]) -> None:
    for seed in range(20):
        faults = plan(seed, 600, peers, kinds)
        for fault in faults:
            troubled = [who for one in faults if one.at <= fault.at < one.over for who in one.who]
            assert len(troubled) == len(set(troubled)), "a peer is in trouble twice"
            assert 2 * len(troubled) < peers
            assert all(0 <= who < peers for who in troubled)


def test_all_words_come_up_in_ten_minutes_and_last_as_they_say() -> None:
    for seed in range(20):
        faults = plan(seed, 600, 7, IN_A_LAB)
        assert {fault.kind for fault in faults} == set(IN_A_LAB) == set(MEANS)
        assert all(0 < fault.at < 600 for fault in faults)
        assert all(MEANS[fault.kind][1] <= fault.seconds <= MEANS[fault.kind][2] for fault in faults)
        assert len(faults) > 50


def test_a_seed_repeats_its_plan_and_a_longer_one_begins_like_it() -> None:
    assert plan(7, 600, 6) == plan(7, 600, 6) != plan(8, 600, 6)
    short = plan(7, 120, 6)
    assert plan(7, 600, 6)[: len(short)] == short
