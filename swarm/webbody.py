"""The body of a request to a server of ours: bounded in bytes and in time, whoever sends it."""

from __future__ import annotations

import asyncio

from starlette.requests import Request


async def arrived(request: Request, largest: int, seconds: float) -> bytes | None:
    """The whole of it; None when it is larger, which is seen before more of it is read. Raises TimeoutError."""
    data = b""
    async with asyncio.timeout(seconds):
        async for part in request.stream():
            data += part
            if len(data) > largest:
                return None
    return data
