"""Local mode's way: every member gets every member's update and combines them in the same order.

So no reducer has to be trusted, and there is nothing to average on the way. A payload is fetched from its sender, or
from the relay to which its sender brings it: the round's relay, or the leader for a sender that cannot be dialled.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from peer.codecs import codec_of, encode, payload_size
from peer.exchange import guard
from peer.exchange.average import Average, merged
from peer.exchange.base import Update
from peer.exchange.node import NETWORK_ERRORS, Node
from peer.exchange.payloads import Payloads
from peer.exchange.protocol import Servicer
from peer.merge import Contribution
from swarm import log
from swarm.errors import CorruptError
from swarm.proto import exchange_pb2 as pb
from swarm.sections import Local

guard.prepare()

from hivemind.p2p import PeerID  # noqa: E402

logger = log.get(__name__)

_AGAIN_SECONDS = 0.2
_ENOUGH_TO_MEASURE = 32 * 1024  # bytes; a smaller payload says more about the delay than about the rate


class Gather:
    """See `peer.exchange.ways.Way`. Seconds."""

    def __init__(self, node: Node, servicer: Servicer, settings: Local, patience: float) -> None:
        self._node = node
        self._servicer = servicer
        self._codec = codec_of(settings)
        self._clip = settings.clip
        self._patience = patience

    def parcel(self, update: Update) -> bytes:
        if not update.samples:
            return b""
        return encode(self._codec, {name: tensor.numpy() for name, tensor in update.tensors.items()})

    async def average(self, group: pb.Group, update: Update, parcel: bytes) -> Average:
        shapes = {name: tuple(tensor.shape) for name, tensor in update.tensors.items()}
        members = [member for member in group.members if member.payload]
        payloads = Payloads([member.payload for member in members], payload_size(self._codec, shapes))
        if parcel:
            payloads.put(hashlib.sha256(parcel).hexdigest(), parcel)
        self._servicer.expect(group.group_id).set_result(payloads)
        rates: dict[bytes, float] = {}
        broken = ""
        try:
            async with asyncio.timeout(self._patience):
                await self._carry(group, payloads, rates)
        except* TimeoutError:
            broken = f"not all updates arrived within {self._patience:g} s"
        except* ValueError as errors:
            broken = str(errors.exceptions[0])
        if broken:
            return Average(broken=broken)
        found = [Contribution(member.samples, await payloads.whole(member.payload)) for member in members]
        average = await asyncio.to_thread(self._merged, found, shapes, parcel)
        return replace(average, rates=rates, bytes_sent=payloads.bytes_sent, bytes_received=payloads.bytes_received)

    def _merged(self, found: list[Contribution], shapes: dict[str, tuple[int, ...]], parcel: bytes) -> Average:
        try:
            return merged(self._codec, found, shapes, self._clip, parcel)
        except CorruptError as error:
            return Average(broken=error.what)

    async def _carry(self, group: pb.Group, payloads: Payloads, rates: dict[bytes, float]) -> None:
        """Bring the own payload where it is fetched, and fetch the others', all at once."""
        async with asyncio.TaskGroup() as tasks:
            for member in group.members:
                if not member.payload:
                    continue
                holder = _holder(group, member)
                if member.peer_id == self._node.id:
                    if holder != self._node.id:
                        tasks.create_task(self._bring(group.group_id, holder, member.payload, payloads))
                elif holder != self._node.id:
                    tasks.create_task(self._fetch(group.group_id, holder, member.payload, payloads, rates))
                else:
                    tasks.create_task(_wait(payloads, member.payload))

    async def _fetch(
        self, group_id: bytes, holder: bytes, sha256: str, payloads: Payloads, rates: dict[bytes, float]
    ) -> None:
        """Fetch one; a stream that breaks off goes on where it stopped, for as long as the group is patient."""
        stub = Servicer.get_stub(self._node.p2p, PeerID(holder), namespace=self._node.run)
        while (offset := payloads.arrived(sha256)) < payloads.size:
            request = pb.PayloadRequest(group_id=group_id, sha256=sha256, offset=offset)
            try:
                async with aclosing(await stub.rpc_payload(request)) as stream:
                    await self._receive(stream, sha256, payloads, rates, holder)
            except NETWORK_ERRORS as error:
                logger.info("a payload broke off: %r", error)
            if payloads.arrived(sha256) < payloads.size:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _receive(
        self,
        stream: AsyncIterator[pb.ChunkPart],
        sha256: str,
        payloads: Payloads,
        rates: dict[bytes, float],
        holder: bytes,
    ) -> None:
        began, size = time.monotonic(), 0
        async for part in stream:
            size += len(part.data)
            await payloads.add(sha256, part.data)
        if size >= _ENOUGH_TO_MEASURE:
            rates[holder] = size / max(time.monotonic() - began, 1e-3)

    async def _bring(self, group_id: bytes, relay: bytes, sha256: str, payloads: Payloads) -> None:
        stub = Servicer.get_stub(self._node.p2p, PeerID(relay), namespace=self._node.run)
        there = 0
        while there < payloads.size:
            try:
                there = (await stub.rpc_bring(_parts(group_id, sha256, there, payloads))).size
            except NETWORK_ERRORS as error:
                logger.info("bringing the payload broke off: %r", error)
                await asyncio.sleep(_AGAIN_SECONDS)


def _holder(group: pb.Group, member: pb.GroupMember) -> bytes:
    """Where a member's payload is fetched."""
    if group.relay and member.peer_id != group.relay:
        return group.relay
    return group.leader if member.client_mode else member.peer_id


async def _wait(payloads: Payloads, sha256: str) -> None:
    await payloads.whole(sha256)


async def _parts(group_id: bytes, sha256: str, offset: int, payloads: Payloads) -> AsyncIterator[pb.PayloadPart]:
    yield pb.PayloadPart(group_id=group_id, sha256=sha256, offset=offset)
    async for data in payloads.read(sha256, offset):
        yield pb.PayloadPart(data=data)
