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
from dataclasses import dataclass, field, replace
from itertools import cycle

from peer.codecs import codec_of, encode, payload_size
from peer.exchange.average import Average, Complaints, GoneError, merged
from peer.exchange.base import Update
from peer.exchange.carrier import Carrier
from peer.exchange.loop import together
from peer.exchange.meter import Meter
from peer.exchange.node import NETWORK_ERRORS, NOBODY_THERE, Node
from peer.exchange.payloads import Payloads
from peer.exchange.ways import Weigh
from peer.merge import Contribution
from swarm import log
from swarm.errors import CorruptError
from swarm.proto import exchange_pb2 as pb
from swarm.sections import Local

logger = log.get(__name__)

_AGAIN_SECONDS = 0.2
_BRING_TRIES = 3  # to a relay; who can be dialled then gives its payload to those who ask
_AT_ONCE = 32  # payloads that are fetched; a node answers 64 streams of another at a time
_CALLS = 10  # in a row that nobody takes, before its sender counts as gone


@dataclass(frozen=True)
class Trip:
    """One group's payloads on their way."""

    group: pb.Group
    payloads: Payloads
    meter: Meter
    complaints: Complaints = field(default_factory=Complaints)
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))


class Gather:
    """See `peer.exchange.ways.Way`. Seconds."""

    def __init__(self, node: Node, carrier: Carrier, settings: Local, patience: float, weigh: Weigh) -> None:
        self._node = node
        self._carrier = carrier
        self._settings = settings
        self._codec = codec_of(settings)
        self._patience = patience
        self._weigh = weigh

    def parcel(self, update: Update) -> bytes:
        if not update.samples:
            return b""
        codec = codec_of(self._settings, update.device)
        return encode(codec, {name: tensor.numpy() for name, tensor in update.tensors.items()})

    async def average(self, group: pb.Group, update: Update, parcel: bytes) -> Average:
        shapes = {name: tuple(tensor.shape) for name, tensor in update.tensors.items()}
        members = [member for member in group.members if member.payload]
        manifest = [member.payload for member in members]
        senders = {member.peer_id: member.payload for member in members}
        payloads = Payloads(manifest, payload_size(self._codec, shapes), self._node.line, senders)
        if parcel:
            payloads.put(hashlib.sha256(parcel).hexdigest(), parcel)
        self._carrier.join(group.group_id, payloads)
        trip = Trip(group, payloads, Meter())
        if broken := await self._travel(trip):
            # A relay that was too slow must be known for it, or it would be tried again and again.
            return Average(broken=broken, complaints=tuple(trip.complaints.values()), rates=trip.meter.rates())
        found = [
            Contribution(member.samples, await payloads.whole(member.payload), self._weigh(member.seal))
            for member in members
        ]
        average = await asyncio.to_thread(self._merged, found, shapes, parcel)
        for place, why in average.refused.items():
            logger.warning("the update of %s is left out: %s", members[place].member, why)
        used = {members[i].member: item for i, item in enumerate(found) if i not in average.refused}
        sent, received = payloads.bytes_sent, payloads.bytes_received
        return replace(average, rates=trip.meter.rates(), bytes_sent=sent, bytes_received=received, sent=used)

    async def _travel(self, trip: Trip) -> str:
        """Have all payloads here, and the own where others look for it; why that did not succeed."""
        senders = [member for member in trip.group.members if member.payload]
        try:
            async with asyncio.timeout(self._patience):
                each = {member.payload for member in senders}
                await together(*(self._carry_all(trip, [m for m in senders if m.payload == one]) for one in each))
        except TimeoutError:
            for member in senders:
                if not trip.payloads.is_whole(member.payload):
                    trip.complaints.add(member.peer_id, f"its update did not arrive within {self._patience:g} s")
        except GoneError as gone:
            return str(gone)
        first = next(iter(trip.complaints.values()), None)
        return first.why if first else ""

    async def _carry_all(self, trip: Trip, senders: list[pb.GroupMember]) -> None:
        """Those who send the same bytes one after the other: two streams at once would mix, and blame the senders."""
        for member in senders:
            await self._carry(trip, member)

    async def _carry(self, trip: Trip, member: pb.GroupMember) -> None:
        holders = _holders(trip.group, member)
        if member.peer_id == self._node.id:
            if holders[0] != self._node.id:
                await self._bring(trip, holders[0], member)
        elif trip.payloads.is_whole(member.payload):
            return  # another sent the same
        elif holders[0] != self._node.id:
            async with trip.places:
                await self._fetch(trip, holders, member)
        else:
            await trip.payloads.whole(member.payload)

    async def _fetch(self, trip: Trip, holders: list[bytes], member: pb.GroupMember) -> None:
        """Fetch one; a stream that breaks off goes on where that holder stopped, or begins at the next."""
        payloads, sha256, calls = trip.payloads, member.payload, 0
        for holder in cycle(holders):
            stub = self._node.stub(Carrier, holder)
            offset = payloads.arrived(sha256, holder)
            request = pb.PayloadRequest(group_id=trip.group.group_id, sha256=sha256, offset=offset)
            try:
                async with aclosing(await stub.rpc_payload(request)) as stream:
                    async for part in stream:
                        trip.meter.note(holder, len(part.data), time.monotonic())
                        await payloads.add(sha256, part.data, holder)
                        calls = 0
            except NETWORK_ERRORS as error:
                logger.info("a payload broke off: %r", error)
                calls = calls + 1 if isinstance(error, NOBODY_THERE) else 0
                if calls >= _CALLS * len(holders):
                    raise GoneError(f"{member.member} is gone") from error
            except ValueError as error:
                if holder == holders[-1]:  # the sender itself, or the only one who has it
                    trip.complaints.add(member.peer_id, str(error))
                    return
            if payloads.is_whole(sha256):
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _bring(self, trip: Trip, relay: bytes, member: pb.GroupMember) -> None:
        stub = self._node.stub(Carrier, relay)
        there, tries = 0, 0
        while there < trip.payloads.size and (member.client_mode or tries < _BRING_TRIES):
            try:
                there = (await stub.rpc_bring(_parts(trip, member.payload, there))).size
            except (*NETWORK_ERRORS, ValueError) as error:  # hivemind's for an answer that does not come
                logger.info("bringing the payload broke off: %r", error)
            if there < trip.payloads.size:
                tries += 1
                await asyncio.sleep(_AGAIN_SECONDS)

    def _merged(self, found: list[Contribution], shapes: dict[str, tuple[int, ...]], parcel: bytes) -> Average:
        try:
            return merged(self._codec, found, shapes, self._settings.clip, parcel)
        except CorruptError as error:
            return Average(broken=error.what)


def _holders(group: pb.Group, member: pb.GroupMember) -> list[bytes]:
    """Where a member's payload is fetched, the best place first."""
    own = [] if member.client_mode else [member.peer_id]
    if group.relay and member.peer_id != group.relay:
        return [group.relay, *own]
    return own or [group.leader]


async def _parts(trip: Trip, sha256: str, offset: int) -> AsyncIterator[pb.PayloadPart]:
    yield pb.PayloadPart(
        group_id=trip.group.group_id,
        sha256=sha256,
        offset=offset,
        manifest=[member.payload for member in trip.group.members if member.payload],
        size=trip.payloads.size,
    )
    async for data in trip.payloads.read(sha256, offset):
        yield pb.PayloadPart(data=data)
