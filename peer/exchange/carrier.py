"""How payloads are served and taken: by every member of a group, and by a relay that belongs to none."""

from __future__ import annotations

import time
from collections.abc import Callable
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
_IN_USE_SECONDS = 60.0  # since a group's payloads were brought or asked for


class Visitors:
    """Which groups of others a relay carries for. A node is in one group at a time, that which it came for last: groups
    that were made up take the place of no other. Seconds.
    """

    def __init__(self, groups: Groups[Payloads], clock: Callable[[], float] = time.monotonic) -> None:
        self._groups = groups
        self._clock = clock
        self._used: dict[bytes, float] = {}  # by group
        self._at: dict[bytes, bytes] = {}  # by node: its group

    def admits(self, group_id: bytes, node: bytes) -> bool:
        """Whether there is a place for the group for which a node comes; what nobody came for any more goes."""
        if self._at.get(node) != group_id:
            self._leave(node)
        if group_id not in self._used and not self._has_room():
            return False
        self._at[node] = group_id
        self._used[group_id] = self._clock()
        return True

    def used(self, group_id: bytes) -> None:
        """Somebody brought or asked for something of the group."""
        if group_id in self._used:
            self._used[group_id] = self._clock()

    def _leave(self, node: bytes) -> None:
        before = self._at.pop(node, None)
        if before is not None and before not in self._at.values():
            self._end(before)

    def _has_room(self) -> bool:
        """Also when the group that was used longest ago must go, which may not have been a moment ago."""
        if len(self._used) < REMEMBERED:
            return True
        oldest = min(self._used, key=lambda group: self._used[group])
        if self._clock() - self._used[oldest] < _IN_USE_SECONDS:
            return False
        self._end(oldest)
        return True

    def _end(self, group_id: bytes) -> None:
        self._used.pop(group_id, None)
        self._groups.leave(group_id)
        self._at = {node: group for node, group in self._at.items() if group != group_id}


class Carrier(ServicerBase):
    """Gives payloads to those who ask, takes those that are brought.

    `room` bytes are for groups of others; without room a peer carries for its own groups only.
    """

    def __init__(self, room: int = 0) -> None:
        self._room = room
        self._groups = Groups[Payloads]()
        self._visitors = Visitors(self._groups)

    def join(self, group_id: bytes, payloads: Payloads) -> None:
        """Carry for a group of this peer's."""
        self._groups.join(group_id, payloads)

    async def rpc_payload(self, request: pb.PayloadRequest, _context: P2PContext) -> AsyncIterator[pb.ChunkPart]:
        payloads = await self._groups.get(request.group_id)
        self._visitors.used(request.group_id)
        if payloads is None or not await payloads.came(request.sha256, _PAYLOAD_SECONDS):
            return
        async for data in payloads.read(request.sha256, request.offset):
            yield pb.ChunkPart(data=data)

    async def rpc_bring(self, stream: AsyncIterator[pb.PayloadPart], context: P2PContext) -> pb.PayloadReply:
        first, sender = await anext(stream), context.remote_id.to_bytes()
        payloads = await self._group_of(first, sender)
        here = payloads.arrived(first.sha256, sender) if payloads else 0
        if payloads is None or here != first.offset or not payloads.expects(first.sha256, sender):
            return pb.PayloadReply(size=max(0, here))
        async for part in stream:
            await payloads.add(first.sha256, part.data, sender)
        return pb.PayloadReply(size=payloads.arrived(first.sha256, sender))

    async def _group_of(self, first: pb.PayloadPart, sender: bytes) -> Payloads | None:
        if self._room and not self._makes_room(first, sender):
            return None
        return await self._groups.get(first.group_id)

    def _makes_room(self, first: pb.PayloadPart, sender: bytes) -> bool:
        """For what arrives beside what is whole: as much again."""
        needed, few = 2 * first.size * len(first.manifest), len(first.manifest) <= _MEMBERS
        if not (few and 0 < needed <= self._room // REMEMBERED and self._visitors.admits(first.group_id, sender)):
            return self._groups.joined(first.group_id)
        if not self._groups.joined(first.group_id):
            self.join(first.group_id, Payloads(first.manifest, first.size))
        return True
