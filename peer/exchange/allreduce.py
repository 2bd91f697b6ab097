"""Gradient mode's way: an exact butterfly all-reduce.

It adds on the way, and keeps nothing of what came, but of the member that this peer watches: of that one it sees the
parts that it averages itself, if it can be dialled.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from torch import Tensor

from peer.exchange.average import Average, measure
from peer.exchange.base import Seen, Update
from peer.exchange.butterfly import ExactAllReduce, Seat, tensors_from, vectors
from peer.exchange.node import Node
from peer.exchange.protocol import Servicer
from peer.exchange.ways import Weigh
from swarm.proto import exchange_pb2 as pb


class AllReduce:
    """See `peer.exchange.ways.Way`. Seconds."""

    def __init__(self, node: Node, servicer: Servicer, codec: str, patience: float, weigh: Weigh) -> None:
        self._node = node
        self._servicer = servicer
        self._codec = codec
        self._patience = patience
        self._weigh = weigh

    def parcel(self, update: Update) -> bytes:
        return b""

    async def average(self, group: pb.Group, update: Update, parcel: bytes) -> Average:
        if len(group.members) == 1:
            return await asyncio.to_thread(measure, update.tensors)
        run = ExactAllReduce(
            self._node,
            Servicer,
            group.group_id,
            [self._seat(member, update.watched) for member in group.members],
            vectors(update.tensors, self._codec),
            self._codec,
            self._patience / 3,
        )
        self._servicer.runs.forget()  # each holds a whole update
        self._servicer.runs.join(group.group_id, run)
        averaged: list[Tensor] = []
        broken = ""
        try:
            async with asyncio.timeout(self._patience):
                averaged = [tensor async for tensor in run]
        except Exception as error:  # hivemind raises many kinds here; each means the same: no average
            broken = f"{type(error).__name__}: {error}"
        if broken or run.broken:
            return Average(broken=run.broken or broken)
        mean = tensors_from(averaged, update.tensors)
        found = await asyncio.to_thread(measure, mean, run.bytes_sent, run.bytes_received)
        looks = {m.member: Seen(m.samples, (run.kept,)) for m in group.members if m.member == update.watched}
        return replace(found, seen=looks if run.kept else {})

    def _seat(self, member: pb.GroupMember, watched: str) -> Seat:
        """One without samples sends zeros, of which there is nothing to say."""
        looked_at = bool(watched and member.samples) and member.member == watched
        return Seat(member.peer_id, member.samples * self._weigh(member.seal), member.client_mode, looked_at)
