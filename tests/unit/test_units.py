"""Amounts for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.units import size


@given(st.floats(1e3, 1e15))
def test_sizes_have_three_digits_and_a_unit(count: float) -> None:
    number, unit = size(count).split()
    assert float(number) * {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit] == pytest.approx(count, rel=0.006)
