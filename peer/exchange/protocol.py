"""What peers ask of each other over hivemind's P2P: the edge between messages and the leader, the all-reduce, the
state file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import AsyncIterator  # noqa: UP035 - hivemind knows a stream by typing's alias only

from peer.chunks import to_bits
from peer.exchange import guard
from peer.exchange.base import StateSource
from peer.exchange.butterfly import ExactAllReduce
from peer.exchange.groups import Groups
from peer.exchange.leader import Leader
from peer.exchange.states import States
from peer.held import Shelf
from peer.line import Line
from swarm import log
from swarm.proto import exchange_pb2 as pb

guard.prepare()

from hivemind.p2p import P2PContext, ServicerBase  # noqa: E402
from hivemind.proto import averaging_pb2  # noqa: E402

logger = log.get(__name__)


class Servicer(ServicerBase):
    """The handlers of one peer. hivemind derives their names and message types from the annotations."""

    def __init__(self, leader: Leader) -> None:
        self.runs = Groups[ExactAllReduce]()
        self.state_source: StateSource | None = None
        self.redirect: Callable[[], bytes] = bytes  # whom to ask instead of this peer
        self.heard_of: Callable[[bytes], None] = lambda _: None
        self.made_by: Callable[[int], Sequence[str]] = lambda _: ()  # who made θ of that round
        self.shelf = Shelf()
        self.states = States(self.shelf)
        self.line = Line()
        self._leader = leader

    async def rpc_progress(self, request: pb.Progress, context: P2PContext) -> pb.SwarmView:
        self.heard_of(context.remote_id.to_bytes())
        if other := self.redirect():
            return pb.SwarmView(phase=pb.REDIRECT, leader=other)
        return await self._leader.watch(context.remote_id.to_bytes(), request)

    async def rpc_ready(self, request: pb.ReadyRequest, context: P2PContext) -> pb.Group:
        if self.redirect():
            return pb.Group(verdict=pb.RETRY, why="another peer leads the round now")
        return await self._leader.ready(context.remote_id.to_bytes(), request)

    async def rpc_commit(self, request: pb.CommitRequest, context: P2PContext) -> pb.Outcome:
        return await self._leader.commit(context.remote_id.to_bytes(), request)

    async def rpc_outcome(self, request: pb.OutcomeQuery, _context: P2PContext) -> pb.OutcomeReply:
        known = self._leader.outcomes.get(request.group_id)
        return pb.OutcomeReply(known=known is not None, outcome=known, round=self._leader.round)

    async def rpc_snapshot(self, request: pb.SnapshotRequest, _context: P2PContext) -> pb.Snapshot:
        made = await asyncio.to_thread(self.state_source, request.at_least_round) if self.state_source else None
        if made is None:
            return pb.Snapshot(why="this peer has no state that it can give")
        path, round_, digest = made
        if round_ < request.at_least_round:
            return pb.Snapshot(round=round_, why=f"this peer is in round {round_}")
        manifest = await self.states.offer(path, digest)
        return pb.Snapshot(
            available=True,
            round=round_,
            digest=digest,
            sha256=manifest.sha256,
            size=manifest.size,
            chunk_size=manifest.chunk_size,
            chunks=b"".join(manifest.digests),
            made_by=self.made_by(round_),
        )

    async def rpc_holdings(self, request: pb.HoldingsRequest, _context: P2PContext) -> pb.Holdings:
        held = self.shelf.get(request.sha256)
        return pb.Holdings(chunks=to_bits(held.here, held.manifest.count) if held else b"")

    async def rpc_chunk(self, request: pb.ChunkRequest, _context: P2PContext) -> AsyncIterator[pb.ChunkPart]:
        with self.shelf.stream() as free:
            if not free:
                yield pb.ChunkPart(busy=True)
                return
            held = self.shelf.get(request.sha256)
            if held is None or request.chunk not in held.here:
                return
            parts = held.parts(request.chunk)
            while (data := await asyncio.to_thread(next, parts, None)) is not None:
                await self.line.send(len(data))
                yield pb.ChunkPart(data=data)

    async def rpc_aggregate_part(
        self, stream: AsyncIterator[averaging_pb2.AveragingData], context: P2PContext
    ) -> AsyncIterator[averaging_pb2.AveragingData]:
        first = await anext(stream)
        runner = await self.runs.get(first.group_id)
        if runner is None or context.remote_id not in runner:
            yield averaging_pb2.AveragingData(code=averaging_pb2.BAD_GROUP_ID)
            return
        async for message in runner.rpc_aggregate_part(_chain(first, stream), context):
            yield message


async def _chain(
    first: averaging_pb2.AveragingData, rest: AsyncIterator[averaging_pb2.AveragingData]
) -> AsyncIterator[averaging_pb2.AveragingData]:
    yield first
    async for message in rest:
        yield message
