"""The loop beside training: a task that should go on for ever and fails is not missed in silence."""

from __future__ import annotations

import pytest

from peer.exchange.loop import LoopThread
from tests.victims import until


async def fails() -> None:
    raise ZeroDivisionError("division by zero")


async def ends() -> None:
    """As it should."""


def test_who_speaks_hears_that_a_part_of_the_talk_ended() -> None:
    loop = LoopThread()

    async def begin() -> None:
        loop.spawn(ends())
        loop.spawn(fails())

    loop.call_soon(lambda: None)
    loop.run(begin(), 5)
    until(lambda: loop.broken is not None, 5)
    with pytest.raises(RuntimeError, match="ended") as heard:
        loop.call_soon(lambda: None)
    assert isinstance(heard.value.__cause__, ZeroDivisionError)
