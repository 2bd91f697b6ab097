"""How long an exchange waits for who has not sent, under virtual time."""

from __future__ import annotations

from contextlib import closing

import pytest

from peer.exchange.living import first_gone
from tests.simulator.clock import VirtualLoop


def waited(sends_after: float, lives: bool) -> tuple[bytes, float]:
    """Who was found gone, and after how many seconds."""
    silent = [b"one"]

    async def answers(_peer: bytes) -> bool:
        return lives

    async def story() -> tuple[bytes, float]:
        loop.call_later(sends_after, silent.clear)
        return await first_gone(lambda: silent, answers), loop.time()

    with closing(VirtualLoop()) as loop:
        return loop.run_until_complete(story())


def test_the_exchange_goes_on_as_soon_as_all_have_sent() -> None:
    assert waited(0.2, lives=False) == (b"", pytest.approx(0.2, abs=0.06))
    assert waited(5.0, lives=True) == (b"", pytest.approx(5.0, abs=0.06))


def test_who_is_silent_for_a_second_and_takes_no_calls_is_gone() -> None:
    assert waited(60.0, lives=False) == (b"one", pytest.approx(1.0, abs=0.06))
