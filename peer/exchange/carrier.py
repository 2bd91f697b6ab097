"""How payloads are served and taken: by every member of a group, and by a relay that belongs to none."""

from __future__ import annotations

import asyncio
from typing import AsyncIterator  # noqa: UP035 - hivemind knows a stream by typing's alias only

from peer.exchange import guard
from peer.exchange.payloads import Payloads
from swarm import log
from swarm.proto import exchange_pb2 as pb

guard.prepare()

from hivemind.p2p import P2PContext, ServicerBase  # noqa: E402

logger = log.get(__name__)

_GROUP_SECONDS = 10.0  # how long a fast groupmate waits for our own word from the leader
_PAYLOAD_SECONDS = 20.0  # how long a stream waits for a payload that is not here yet; then the asker looks elsewhere
_GROUPS = 8  # are remembered


class Carrier(ServicerBase):
    """Gives payloads to those who ask, takes those that are brought.

    `room` bytes are for groups of others; without room a peer carries for its own groups only.
    """

    def __init__(self, room: int = 0) -> None:
        self._room = room
        self._groups: dict[bytes, asyncio.Future[Payloads]] = {}

    def join(self, group_id: bytes, payloads: Payloads) -> None:
        """Carry for a group of this peer's."""
        self._expect(group_id).set_result(payloads)

    async def rpc_payload(self, request: pb.PayloadRequest, _context: P2PContext) -> AsyncIterator[pb.ChunkPart]:
        payloads = await self._group(request.group_id)
        if payloads is None or not await payloads.came(request.sha256, _PAYLOAD_SECONDS):
            return
        async for data in payloads.read(request.sha256, request.offset):
            yield pb.ChunkPart(data=data)

    async def rpc_bring(self, stream: AsyncIterator[pb.PayloadPart], _context: P2PContext) -> pb.PayloadReply:
        first = await anext(stream)
        payloads = await self._group_of(first)
        if payloads is None or payloads.arrived(first.sha256) != first.offset:
            return pb.PayloadReply(size=max(0, payloads.arrived(first.sha256)) if payloads else 0)
        async for part in stream:
            await payloads.add(first.sha256, part.data)
        return pb.PayloadReply(size=payloads.arrived(first.sha256))

    async def _group_of(self, first: pb.PayloadPart) -> Payloads | None:
        known = self._groups.get(first.group_id)
        bytes_needed = first.size * len(first.manifest)
        if (known is None or not known.done()) and 0 < bytes_needed <= self._room // _GROUPS:
            self.join(first.group_id, Payloads(first.manifest, first.size))
        return await self._group(first.group_id)

    async def _group(self, group_id: bytes) -> Payloads | None:
        """A group's payloads, or None. A groupmate may be faster than the leader's word to us: wait."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._expect(group_id)), _GROUP_SECONDS)
        except TimeoutError:
            return None

    def _expect(self, group_id: bytes) -> asyncio.Future[Payloads]:
        if group_id not in self._groups:
            self._groups[group_id] = asyncio.get_running_loop().create_future()
            while len(self._groups) > _GROUPS:
                self._groups.pop(next(iter(self._groups))).cancel()
        return self._groups[group_id]
