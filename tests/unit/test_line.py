"""A cap on what is sent, on a clock of the test's."""

from __future__ import annotations

import asyncio
import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.exchange.payloads import PART, Payloads
from peer.line import Line


@given(
    st.floats(1e3, 1e8),
    st.lists(st.tuples(st.integers(1, 1_000_000), st.floats(0, 10)), min_size=1, max_size=50),
)
def test_no_stretch_of_time_sees_more_than_the_cap_and_a_burst(rate: float, parts: list[tuple[int, float]]) -> None:
    line, now, sent = Line(lambda: rate), 100.0, []
    for size, idle in parts:
        now += idle
        now += line.delay(size, now)
        sent.append((now, size))
    for begin in range(len(sent)):
        total = 0
        for moment, size in sent[begin:]:
            total += size
            assert total - sent[begin][1] <= rate * (moment - sent[begin][0] + 0.25) * (1 + 1e-9) + 1


def test_several_senders_share_it() -> None:
    line = Line(lambda: 1000.0)
    delays = [line.delay(1000, 10.0) for _ in range(4)]
    assert delays == pytest.approx([0.75, 1.75, 2.75, 3.75])


def test_no_cap_is_no_wait() -> None:
    assert [Line().delay(10**9, 0.0) for _ in range(3)] == [0.0] * 3


def test_an_update_leaves_at_the_line() -> None:
    data = bytes(4 * PART)
    name = hashlib.sha256(data).hexdigest()

    async def send() -> bytes:
        payloads = Payloads([name], len(data), Line(lambda: 4.0 * PART))
        payloads.put(name, data)
        return b"".join([part async for part in payloads.read(name, 0)])

    began = time.monotonic()
    assert asyncio.run(send()) == data
    assert time.monotonic() - began >= 0.75  # a second's worth, less the burst
