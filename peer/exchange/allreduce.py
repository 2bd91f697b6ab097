"""Gradient mode's way: an exact butterfly all-reduce."""

from __future__ import annotations

import asyncio

from torch import Tensor

from peer.exchange.average import Average, measure
from peer.exchange.base import Update
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
            [Seat(m.peer_id, m.samples * self._weigh(m.seal), m.client_mode) for m in group.members],
            vectors(update.tensors, self._codec),
            self._codec,
            self._patience / 3,
        )
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
        return await asyncio.to_thread(measure, mean, run.bytes_sent, run.bytes_received)
