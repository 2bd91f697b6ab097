"""How much of an epoch a member is lent: in proportion to its speed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.ledger import Ledger
from coordinator.tempo import Tempo

speed = st.floats(0.01, 1e6)


@given(st.lists(speed, min_size=1, max_size=30), st.integers(1, 512), st.integers(1, 100_000))
def test_leases_are_in_proportion_to_speed(speeds: list[float], target: int, epoch: int) -> None:
    ledger = Ledger(epoch)
    limits = [ledger.limit(target, own, Tempo.of(speeds)) for own in speeds]
    lendable = max(len(speeds) * target, epoch // 2)
    assert min(limits) >= 1
    for own, limit in zip(speeds, limits, strict=True):
        exact = lendable * own / sum(speeds)
        assert limit == 1 or abs(limit - exact) <= 0.5 + 1e-6 * exact  # half a sample: rounding


@given(st.lists(st.sampled_from([0.0, 0.5, 4.0, 1e308, -1.0, math.nan, math.inf]), min_size=1, max_size=9))
def test_whatever_members_say_of_themselves_each_gets_something(speeds: list[float]) -> None:
    for own in speeds:
        assert 0 <= Tempo.of(speeds).share(own) <= 1 + 1e-12
        assert Ledger(50).limit(8, own, Tempo.of(speeds)) >= 1


@pytest.mark.parametrize("unknown", [0.0, -1.0, math.nan, math.inf])
def test_who_has_no_speed_yet_gets_an_equal_part(unknown: float) -> None:
    tempo = Tempo.of([unknown, 1.0, 4.0])
    assert tempo.share(unknown) == pytest.approx(1 / 3)
    assert tempo.share(4.0) == pytest.approx(4 / 7.5)
    assert Tempo.of([unknown, unknown]).share(unknown) == 0.5


@given(st.lists(speed, max_size=20), st.data())
def test_members_may_leave_in_any_order(speeds: list[float], data: st.DataObject) -> None:
    stay = data.draw(st.lists(speed, max_size=20))
    tempo = Tempo.of([*speeds, *stay])
    for gone in data.draw(st.permutations(speeds)):
        tempo = tempo.minus(gone)
    assert tempo == Tempo.of(stay)


def test_a_member_four_times_slower_gets_a_quarter() -> None:
    ledger = Ledger(1000)
    fast, slow = (ledger.limit(8, own, Tempo.of([10.0, 2.5])) for own in (10.0, 2.5))
    assert (fast, slow) == (400, 100)
