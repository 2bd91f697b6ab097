"""What is written last is kept, and no more than so much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peer.newest import Newest


@given(st.lists(st.integers(0, 9)), st.integers(1, 5))
def test_the_newest_are_kept_and_the_oldest_forgotten(keys: list[int], most: int) -> None:
    found = Newest[int, int](most)
    for number, key in enumerate(keys):
        found[key] = number
        assert len(found) <= most
    last = {key: number for number, key in enumerate(keys)}
    kept = sorted(last, key=lambda key: last[key])[-most:]
    assert list(found.items()) == [(key, last[key]) for key in kept]
