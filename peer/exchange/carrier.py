"""How payloads are served and taken: by every member of a group, and by a relay that belongs to none."""

from __future__ import annotations

from typing import AsyncIterator  # noqa: UP035 - hivemind knows a stream by typing's alias only

from peer.exchange import guard
from peer.exchange.groups import REMEMBERED, Groups
from peer.exchange.payloads import Payloads
from swarm import log
from swarm.proto import exchange_pb2 as pb

guard.prepare()

from hivemind.p2p import P2PContext, ServicerBase  # noqa: E402

logger = log.get(__name__)

_PAYLOAD_SECONDS = 20.0  # how long a stream waits for a payload that is not here yet; then the asker looks elsewhere
_MEMBERS = 4096  # of a group: of tiny payloads there would be room for millions


class Carrier(ServicerBase):
    """Gives payloads to those who ask, takes those that are brought.

    `room` bytes are for groups of others; without room a peer carries for its own groups only.
    """

    def __init__(self, room: int = 0) -> None:
        self._room = room
        self._groups = Groups[Payloads]()

    def join(self, group_id: bytes, payloads: Payloads) -> None:
        """Carry for a group of this peer's."""
        self._groups.join(group_id, payloads)

    async def rpc_payload(self, request: pb.PayloadRequest, _context: P2PContext) -> AsyncIterator[pb.ChunkPart]:
        payloads = await self._groups.get(request.group_id)
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
        bytes_needed, few = first.size * len(first.manifest), len(first.manifest) <= _MEMBERS
        if few and not self._groups.joined(first.group_id) and 0 < bytes_needed <= self._room // REMEMBERED:
            self.join(first.group_id, Payloads(first.manifest, first.size))
        return await self._groups.get(first.group_id)
