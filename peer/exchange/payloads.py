"""The payloads of one group that are at this peer: its own, those that were brought to it, those that it fetched."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection

from peer.line import Line

PART = 32 * 1024  # bytes that are sent at once: often enough to see how fast they come


class Payloads:
    """Takes nothing that is not in the round's manifest, and never more than `size` bytes of each."""

    def __init__(self, manifest: Collection[str], size: int, line: Line | None = None) -> None:
        self.bytes_sent = 0
        self.bytes_received = 0
        self.size = size
        self._line = line or Line()
        self._arriving = {sha256: bytearray() for sha256 in manifest}
        self._whole = {sha256: asyncio.get_running_loop().create_future() for sha256 in manifest}

    def put(self, sha256: str, data: bytes) -> None:
        """Keep this peer's own."""
        self._whole[sha256].set_result(data)

    def arrived(self, sha256: str) -> int:
        """How many bytes are here; -1 when it is none of the round's."""
        if sha256 not in self._whole:
            return -1
        return self.size if self._whole[sha256].done() else len(self._arriving[sha256])

    async def add(self, sha256: str, data: bytes) -> None:
        """The next bytes of one. Raises ValueError for more than it has, or another content than its name says."""
        if self._whole[sha256].done():
            return  # it came from elsewhere meanwhile
        part = self._arriving[sha256]
        if len(part) + len(data) > self.size:
            part.clear()
            raise ValueError("a payload is larger than the model's updates are")
        part += data
        self.bytes_received += len(data)
        self._line.passed(len(data))
        if len(part) == self.size:
            await self._finish(sha256, bytes(part))

    async def _finish(self, sha256: str, data: bytes) -> None:
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        self._arriving[sha256].clear()
        if digest != sha256:
            raise ValueError("a payload has another content than was promised")
        if not self._whole[sha256].done():
            self._whole[sha256].set_result(data)

    async def came(self, sha256: str, seconds: float) -> bool:
        """Whether it is one of the round's and here within so long."""
        if sha256 not in self._whole:
            return False
        await asyncio.wait([self._whole[sha256]], timeout=seconds)
        return bool(self._whole[sha256].done())

    async def whole(self, sha256: str) -> bytes:
        """The payload, once it is here."""
        data: bytes = await asyncio.shield(self._whole[sha256])
        return data

    async def read(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        """Its bytes from `offset` on, once it is here, as fast as the line may send."""
        data = await self.whole(sha256)
        for begin in range(offset, len(data), PART):
            part = data[begin : begin + PART]
            await self._line.send(len(part))
            self.bytes_sent += len(part)
            yield part
