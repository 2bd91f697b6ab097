"""The exchange of a peer whose rounds are traced: the same, with a span for each of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.exchange.average import Average
from peer.exchange.base import Applied, Result, Update
from peer.exchange.swarm import SwarmExchange
from peer.exchange.ways import Way
from swarm.proto import exchange_pb2 as pb

if TYPE_CHECKING:
    from peer.spans import Spans


class TracedExchange(SwarmExchange):
    """`trace` before the first exchange."""

    _spans: Spans

    def trace(self, spans: Spans) -> None:
        """Tell `spans` of everything."""
        self._spans, self._way = spans, TracedWay(self._way, spans)

    async def _exchange(self, update: Update) -> Result:
        with self._spans.exchange(update.round) as span:
            result = await super()._exchange(update)
            if not isinstance(result, Applied):
                self._spans.failed(span, result.why)
            return result

    async def _ready(self, leader: bytes, update: Update, payload: str) -> pb.Group:
        with self._spans.part("matchmaking"):
            return await super()._ready(leader, update, payload)

    async def _vote_and_commit(self, leader: bytes, group: pb.Group, round_: int, average: Average) -> pb.Outcome:
        with self._spans.part("commit"):
            return await super()._vote_and_commit(leader, group, round_, average)


class TracedWay:
    """See `peer.exchange.ways.Way`; the span of an average is called as the way is: gather, allreduce, clipped."""

    def __init__(self, way: Way, spans: Spans) -> None:
        self._way = way
        self._spans = spans

    def parcel(self, update: Update) -> bytes:
        with self._spans.part("encode"):
            return self._way.parcel(update)

    async def average(self, group: pb.Group, update: Update, parcel: bytes) -> Average:
        with self._spans.part(type(self._way).__name__.lower()) as span:
            average = await self._way.average(group, update, parcel)
            if average.broken:
                self._spans.failed(span, average.broken)
            return average
