"""Amounts for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.units import size


def test_a_few_bytes_are_said_as_such() -> None:
    assert [size(count) for count in (0, 23, 1000)] == ["0 bytes", "23 bytes", "1 kB"]


@given(st.floats(1e3, 1e15))
def test_sizes_have_three_digits_and_a_unit(count: float) -> None:
    number, unit = size(count).split()
    assert float(number) * {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit] == pytest.approx(count, rel=0.006)
