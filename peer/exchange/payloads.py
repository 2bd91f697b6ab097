"""The payloads of one group that are at this peer: its own, those that were brought to it, those that it fetched.

What arrives is kept apart by the node that sends it: bytes that somebody else sends under the same hash spoil nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping

from peer.line import Line

PART = 32 * 1024  # bytes that are sent at once: often enough to see how fast they come


class Payloads:
    """Takes nothing that is not in the round's manifest, and never more than `size` bytes of each. `senders` says what
    each node of the group has to bring; without it each may bring one, and no more nodes than there are payloads.
    """

    def __init__(
        self,
        manifest: Collection[str],
        size: int,
        line: Line | None = None,
        senders: Mapping[bytes, str] | None = None,
    ) -> None:
        self.bytes_sent = 0
        self.bytes_received = 0
        self.size = size
        self._line = line or Line()
        self._senders = senders
        self._arriving: dict[tuple[bytes, str], bytearray] = {}  # by the node that sends it, and what it shall be
        self._whole = {sha256: asyncio.get_running_loop().create_future() for sha256 in manifest}

    def put(self, sha256: str, data: bytes) -> None:
        """Keep this peer's own."""
        self._whole[sha256].set_result(data)

    def expects(self, sha256: str, sender: bytes) -> bool:
        """Whether the node may bring this one."""
        if self._senders is not None:
            return self._senders.get(sender) == sha256
        begun = dict(self._arriving.keys())
        return sha256 in self._whole and (begun.get(sender) == sha256 or (sender not in begun and self._has_room))

    @property
    def _has_room(self) -> bool:
        return len(self._arriving) < len(self._whole)

    def is_whole(self, sha256: str) -> bool:
        """Whether all of it is here."""
        return sha256 in self._whole and self._whole[sha256].done()

    def arrived(self, sha256: str, sender: bytes) -> int:
        """How many bytes are here, of those that the node sends; -1 when it is none of the round's."""
        if sha256 not in self._whole:
            return -1
        return self.size if self.is_whole(sha256) else len(self._arriving.get((sender, sha256), b""))

    async def add(self, sha256: str, data: bytes, sender: bytes) -> None:
        """The next bytes of one from a node. Raises ValueError for more than it has, or another content than its name
        says.
        """
        if self.is_whole(sha256):
            return  # it came from elsewhere meanwhile
        part = self._arriving.setdefault((sender, sha256), bytearray())
        if len(part) + len(data) > self.size:
            del self._arriving[sender, sha256]
            raise ValueError("a payload is larger than the model's updates are")
        part += data
        self.bytes_received += len(data)
        self._line.passed(len(data))
        if len(part) == self.size:
            del self._arriving[sender, sha256]
            await self._finish(sha256, bytes(part))

    async def _finish(self, sha256: str, data: bytes) -> None:
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
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
