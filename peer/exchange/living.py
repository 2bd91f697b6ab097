"""Whether those who are silent are there at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

SILENCE_SECONDS = 1.0  # before those for whom a group waits are asked whether they live


async def always(_peer: bytes) -> bool:
    """Of a leader that cannot ask."""
    return True


async def first_gone(silent: Callable[[], Collection[bytes]], lives: Callable[[bytes], Awaitable[bool]]) -> bytes:
    """One of those who are silent that takes no calls any more; nothing once nobody is silent."""
    while silent():
        await asyncio.sleep(SILENCE_SECONDS)
        for peer in silent():
            if not await lives(peer):
                return peer
    return b""
