"""Whether those who are silent are there at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

_TICK_SECONDS = 0.05
SILENCE_SECONDS = 1.0  # before those for whom a group waits are asked whether they live


async def always(_peer: bytes) -> bool:
    """Of a leader that cannot ask."""
    return True


async def first_gone(silent: Callable[[], Collection[bytes]], lives: Callable[[bytes], Awaitable[bool]]) -> bytes:
    """One of those who are silent that takes no calls any more, asked once a second; nothing as soon as nobody is."""
    clock = asyncio.get_running_loop().time
    asked = clock()
    while silent():
        await asyncio.sleep(_TICK_SECONDS)
        if clock() - asked < SILENCE_SECONDS:
            continue
        for peer in silent():
            if not await lives(peer):
                return peer
        asked = clock()
    return b""
