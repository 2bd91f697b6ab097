"""Gradient mode's robust way: a butterfly whose reducers clip, and are checked by those whom they serve.

Everybody signs the hashes of all parts of its update before the group is formed, so what it sends is fixed before it
knows others' updates. A reducer makes the clipped mean (`peer.robust`) of each part in its share, and signs what it
made. Then every member asks one reducer for all that it received of one part, drawn by that member only then, and
computes the part again. The group's leader, who judges complaints (`court.py`), does not reduce while others can.

After Gorbunov et al. 2021, "Secure Distributed Training at Scale" (arXiv 2106.11257), with a check of parts in place of
their sums over random projections: it is exact, and nobody can be accused falsely.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import AsyncIterator  # noqa: UP035 - hivemind knows a stream by typing's alias only

import torch

from peer.exchange import guard
from peer.exchange.average import Average, Complaints, GoneError, measure
from peer.exchange.base import Update
from peer.exchange.butterfly import tensors_from, vectors
from peer.exchange.groups import Groups
from peer.exchange.living import first_gone
from peer.exchange.loop import together
from peer.exchange.node import NETWORK_ERRORS, Node
from peer.exchange.parts import agrees, cut, decoded, encoded, hash_of, leaf, root, shares
from peer.exchange.reducer import LostSenderError, Reducer, Work, WrongPartError, seen_by
from peer.seals import Notary
from swarm import log
from swarm.errors import SwarmError
from swarm.proto import exchange_pb2 as pb

guard.prepare()

from hivemind.p2p import P2PContext, ServicerBase  # noqa: E402
from hivemind.utils.asyncio import aiter_with_timeout  # noqa: E402

logger = log.get(__name__)

_TRIES = 5  # to have what a reducer made, or what it received
_AGAIN_SECONDS = 0.2  # before a stream that broke off is opened again


@dataclass(frozen=True)
class Offer:
    """This member's update as it travels."""

    parts: Sequence[bytes]
    counts: Sequence[int]  # values in each part

    @cached_property
    def leaves(self) -> bytes:
        return b"".join(leaf(part) for part in self.parts)


@dataclass
class Meeting:
    """One group's exchange, as this member sees it."""

    group: pb.Group
    work: Work
    spans: dict[bytes, range]  # of each reducer
    reducer: Reducer | None  # this member, if it is one
    made: dict[int, bytes] = field(default_factory=dict)  # the encoded means that came
    shown: dict[int, dict[bytes, pb.Input]] = field(default_factory=dict)  # what one was made of; verified
    shares: dict[bytes, pb.Share] = field(default_factory=dict)
    complaints: Complaints = field(default_factory=Complaints)
    word: asyncio.Task[pb.Share] | None = None  # this reducer's, for what it made
    heard: dict[bytes, float] = field(default_factory=dict)  # when each sender's last part came; the loop's seconds
    broken: str = ""  # by others' complaints
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    bytes_sent: int = 0
    bytes_received: int = 0

    def member(self, peer: bytes) -> pb.GroupMember:
        return next(member for member in self.group.members if member.peer_id == peer)


def reducers_of(group: pb.Group) -> list[bytes]:
    """Who can be dialled, but not the leader unless nobody else can."""
    able = [member.peer_id for member in group.members if not member.client_mode]
    return [peer for peer in able if peer != group.leader] or able


def checked_by(member: bytes, group: pb.Group, reducers: Sequence[bytes]) -> bytes:
    """Whose part a member computes again: each reducer is checked by one other, and by those who do not reduce; another
    one in each group. Nobody's when it is the only reducer.
    """
    turn = int.from_bytes(hashlib.sha256(group.group_id).digest()[:4], "big")
    if member not in reducers:
        place = [one.peer_id for one in group.members].index(member)
        return reducers[(place + turn) % len(reducers)]
    if len(reducers) == 1:
        return b""
    return reducers[(reducers.index(member) + 1 + turn % (len(reducers) - 1)) % len(reducers)]


class Reducing(ServicerBase):
    """What reducers answer."""

    def __init__(self, node: Node, notary: Notary, patience: float) -> None:
        self._node = node
        self._notary = notary
        self._patience = patience
        self.meetings = Groups[Meeting]()

    def join(self, meeting: Meeting) -> None:
        """Reduce for this group now, and forget what earlier ones received."""
        self.meetings.forget()
        self.meetings.join(meeting.group.group_id, meeting)

    async def rpc_reduce(self, stream: AsyncIterator[pb.Part], context: P2PContext) -> AsyncIterator[pb.Part]:
        first = await anext(stream)
        meeting = await self.meetings.get(first.group_id)
        sender = context.remote_id.to_bytes()
        if meeting is None or meeting.reducer is None or all(m.peer_id != sender for m in meeting.group.members):
            return
        taking = asyncio.ensure_future(self._take(meeting, meeting.reducer, sender, first.leaves, stream))
        try:
            async for part in self._parts(meeting, meeting.reducer):
                yield part
        except LostSenderError as error:
            yield pb.Part(lost=error.sender)
        finally:
            taking.cancel()

    async def rpc_inputs(self, request: pb.InputsRequest, _context: P2PContext) -> AsyncIterator[pb.Input]:
        meeting = await self.meetings.get(request.group_id)
        for found in meeting.reducer.inputs(request.part) if meeting and meeting.reducer else []:
            await self._node.line.send(len(found.tensor))
            yield found

    async def share(self, meeting: Meeting, reducer: Reducer) -> pb.Share:
        """This reducer's word for its share; the same for everybody. Raises LostSenderError."""
        if meeting.word is None:
            meeting.word = asyncio.ensure_future(self._signed(meeting.group.group_id, reducer))
        return await asyncio.shield(meeting.word)

    async def _signed(self, group_id: bytes, reducer: Reducer) -> pb.Share:
        digest = await reducer.digest()
        signature = await asyncio.to_thread(self._notary.sign_share, group_id, digest)
        return pb.Share(peer_id=self._node.id, sha256=digest, signature=signature)

    async def _parts(self, meeting: Meeting, reducer: Reducer) -> AsyncIterator[pb.Part]:
        span = meeting.spans[self._node.id]
        for index in span:
            data = await reducer.mean(index)
            signature = (await self.share(meeting, reducer)).signature if index == span[-1] else b""
            await self._node.line.send(len(data))
            meeting.bytes_sent += len(data)
            yield pb.Part(tensor=data, signature=signature)

    async def _take(
        self, meeting: Meeting, reducer: Reducer, sender: bytes, leaves: bytes, stream: AsyncIterator[pb.Part]
    ) -> None:
        """Everything of one sender's, from its first part on also when an earlier stream broke off; one without samples
        sends nothing.
        """
        if not meeting.member(sender).samples:
            return
        clock = asyncio.get_running_loop().time
        try:
            reducer.promise(sender, leaves)
            meeting.heard[sender] = clock()
            index = meeting.spans[self._node.id].start
            async for part in stream:
                reducer.put(sender, index, part.tensor)
                self._node.line.passed(len(part.tensor))
                meeting.bytes_received += len(part.tensor)
                meeting.heard[sender] = clock()
                index += 1
        except WrongPartError as error:
            meeting.complaints.add(sender, str(error))
            reducer.lose(sender)


class Clipped:
    """See `peer.exchange.ways.Way`. Seconds."""

    def __init__(self, node: Node, reducing: Reducing, notary: Notary, codec: str, patience: float) -> None:
        self._node = node
        self._reducing = reducing
        self._notary = notary
        self._codec = codec
        self._patience = patience
        self._offer = Offer((), ())

    def parcel(self, update: Update) -> bytes:
        """The hashes of the update's parts; they name it."""
        parts = cut(vectors(update.tensors, self._codec))
        self._offer = Offer([encoded(part, self._codec) for part in parts], [part.numel() for part in parts])
        return self._offer.leaves

    async def average(self, group: pb.Group, update: Update, parcel: bytes) -> Average:
        if len(group.members) == 1:
            return await asyncio.to_thread(measure, update.tensors)
        meeting = self._meeting(group)
        self._reducing.join(meeting)
        try:
            async with asyncio.timeout(self._patience):
                await self._meet(meeting)
        except TimeoutError:
            for peer, span in meeting.spans.items():
                if span[-1] not in meeting.made:
                    meeting.complaints.add(peer, "what it made did not come in time")
        except GoneError as gone:
            meeting.broken = str(gone)
        meeting.settled.set()
        if not meeting.complaints and not meeting.broken:
            await self._check_one(meeting)
        return await self._result(meeting, update)

    async def recheck(self, group_id: bytes, reducer: bytes, part: int) -> str | None:
        """What is wrong with a reducer's part; empty when nothing is, None when this member cannot know."""
        meeting = await self._reducing.meetings.get(group_id)
        if meeting is None or part not in meeting.spans.get(reducer, ()):
            return None
        await meeting.settled.wait()
        return await self._fault(meeting, reducer, part)

    def _meeting(self, group: pb.Group) -> Meeting:
        senders = [member for member in group.members if member.samples]
        weighs = [self._notary.share(member.seal) for member in senders]
        work = Work(senders, weighs, self._offer.counts, self._codec)
        reducers = reducers_of(group)
        spans = {p: s for p, s in zip(reducers, shares(work.counts, len(reducers)), strict=True) if s}
        own = spans.get(self._node.id)
        return Meeting(group, work, spans, Reducer(work, own) if own else None)

    async def _meet(self, meeting: Meeting) -> None:
        tasks = [self._deal(meeting, peer) for peer in meeting.spans if peer != self._node.id]
        if meeting.reducer:
            reducer = meeting.reducer
            tasks += [each(meeting, reducer) for each in (self._reduce, self._watch, self._call)]
        await together(*tasks)

    async def _watch(self, meeting: Meeting, reducer: Reducer) -> None:
        """Do without those who send nothing for a third of the patience."""
        clock = asyncio.get_running_loop().time
        began = clock()
        while missing := reducer.missing():
            for peer in missing:
                if clock() - meeting.heard.get(peer, began) > self._patience / 3:
                    meeting.complaints.add(peer, "it stopped sending" if peer in meeting.heard else "it did not send")
                    reducer.lose(peer)
            await asyncio.sleep(0.05)

    async def _call(self, meeting: Meeting, reducer: Reducer) -> None:
        """Raises GoneError when one that should send takes no calls."""
        if gone := await first_gone(reducer.missing, self._node.lives):
            reducer.lose(gone)
            raise GoneError(f"{meeting.member(gone).member} is gone")

    async def _reduce(self, meeting: Meeting, reducer: Reducer) -> None:
        own, span = self._node.id, meeting.spans[self._node.id]
        if meeting.member(own).samples:
            reducer.promise(own, self._offer.leaves)
            for index in span:
                reducer.put(own, index, self._offer.parts[index])
        try:
            for index in span:
                meeting.made[index] = await reducer.mean(index)
            meeting.shares[own] = await self._reducing.share(meeting, reducer)
        except LostSenderError:
            return  # there is a complaint already
        except SwarmError as error:
            meeting.complaints.add(own, f"it could not sign: {error.what}")

    async def _deal(self, meeting: Meeting, peer: bytes) -> None:
        """Send a reducer its parts of the own update, and take what it makes; again where a stream broke off, for a
        connection may be lost by nobody's fault.
        """
        for _ in range(_TRIES):
            if await self._dealt(meeting, peer):
                return
            await asyncio.sleep(_AGAIN_SECONDS)
        meeting.complaints.add(peer, "what it made did not come")

    async def _dealt(self, meeting: Meeting, peer: bytes) -> bool:
        """One stream; False when it broke off."""
        span, index, signature = meeting.spans[peer], meeting.spans[peer].start, b""
        try:
            stream = await self._node.stub(Reducing, peer).rpc_reduce(self._sending(meeting, span))
            async for part in aiter_with_timeout(stream, 2 * self._patience / 3):
                if part.lost:
                    meeting.broken = f"{meeting.member(peer).member} misses what another member should have sent it"
                    return True
                if index not in span or decoded(part.tensor, meeting.work.counts[index], self._codec) is None:
                    meeting.complaints.add(peer, "what it made cannot be read")
                    return True
                meeting.made[index], signature = part.tensor, part.signature
                meeting.bytes_received += len(part.tensor)
                self._node.line.passed(len(part.tensor))
                index += 1
        except NETWORK_ERRORS as error:
            logger.info("a reducer's stream broke off: %r", error)
        if index == span.stop:
            self._keep_share(meeting, peer, signature)
        return index == span.stop

    async def _sending(self, meeting: Meeting, span: range) -> AsyncIterator[pb.Part]:
        yield pb.Part(group_id=meeting.group.group_id, leaves=self._offer.leaves)
        for index in span if meeting.member(self._node.id).samples else ():
            data = self._offer.parts[index]
            await self._node.line.send(len(data))
            meeting.bytes_sent += len(data)
            yield pb.Part(tensor=data)

    def _keep_share(self, meeting: Meeting, peer: bytes, signature: bytes) -> None:
        digest = root(b"".join(leaf(meeting.made[index]) for index in meeting.spans[peer]))
        if self._notary.made(meeting.group.group_id, digest, signature, meeting.member(peer).seal):
            meeting.shares[peer] = pb.Share(peer_id=peer, sha256=digest, signature=signature)
        else:
            meeting.complaints.add(peer, "it did not sign what it made")

    async def _check_one(self, meeting: Meeting) -> None:
        """Compute a part again: of a reducer that nobody else checks, as far as there are enough; drawn only now."""
        reducer = checked_by(self._node.id, meeting.group, list(meeting.spans))
        if not reducer:
            return
        part = secrets.choice(meeting.spans[reducer])
        why = await self._fault(meeting, reducer, part)
        if why is None:
            meeting.complaints.add(reducer, "it did not show what it had received")
        elif why:
            wrong = pb.Complaint(peer_id=reducer, why=why, fault=pb.WRONG_MEAN, part=part)
            meeting.complaints[reducer] = wrong

    async def _fault(self, meeting: Meeting, reducer: bytes, part: int) -> str | None:
        """What is wrong with a part; None when the reducer did not show what it made it of."""
        if part not in meeting.made:
            return None
        for _ in range(_TRIES):
            with suppress(*NETWORK_ERRORS):
                inputs = await self._inputs(meeting, reducer, part)
                if len(inputs) >= len(meeting.work.senders):  # less also comes of a connection that is lost
                    why = await asyncio.to_thread(fault_of, meeting, inputs, part)
                    meeting.shown |= {} if why else {part: inputs}
                    return why
            await asyncio.sleep(_AGAIN_SECONDS)
        return None

    async def _inputs(self, meeting: Meeting, reducer: bytes, part: int) -> dict[bytes, pb.Input]:
        inputs: dict[bytes, pb.Input] = {}
        request = pb.InputsRequest(group_id=meeting.group.group_id, part=part)
        stream = await self._node.stub(Reducing, reducer).rpc_inputs(request)
        async for found in aiter_with_timeout(stream, self._patience / 3):
            inputs[found.peer_id] = found
            meeting.bytes_received += len(found.tensor) + len(found.leaves)
        return inputs

    async def _result(self, meeting: Meeting, update: Update) -> Average:
        complaints, shares_ = tuple(meeting.complaints.values()), tuple(meeting.shares.values())
        if complaints:
            broken = f"{meeting.member(complaints[0].peer_id).member}: {complaints[0].why}"
            return Average(broken=broken, complaints=complaints, shares=shares_)
        if meeting.broken:
            return Average(broken=meeting.broken)
        if meeting.reducer:
            for peer, why in meeting.reducer.refused.items():
                logger.warning("a part of %s's update is left out: %s", meeting.member(peer).member, why)
        made = await asyncio.to_thread(self._tensors, meeting, update)
        found = await asyncio.to_thread(measure, made, meeting.bytes_sent, meeting.bytes_received)
        seen = await asyncio.to_thread(seen_by, meeting.work, meeting.reducer, meeting.shown, update.watched)
        return replace(found, shares=shares_, seen=seen)

    def _tensors(self, meeting: Meeting, update: Update) -> dict[str, torch.Tensor]:
        counts = meeting.work.counts
        values = [decoded(meeting.made[index], count, self._codec) for index, count in enumerate(counts)]
        return tensors_from([torch.from_numpy(part) for part in values], update.tensors)


def fault_of(meeting: Meeting, inputs: dict[bytes, pb.Input], part: int) -> str:
    """What is wrong with a reducer's part, by what it shows of its inputs; empty when nothing is."""
    work = meeting.work
    for member in work.senders:
        shown = inputs.get(member.peer_id)
        if shown is None:
            return f"it does not show what {member.member} sent"
        if root(shown.leaves) != member.payload or leaf(shown.tensor) != hash_of(shown.leaves, part):
            return f"it shows something else than {member.member} had signed"
    mean, _ = work.mean({peer: found.tensor for peer, found in inputs.items()}, part)
    received = decoded(meeting.made[part], work.counts[part], work.codec)
    fits = received is not None and agrees(received, mean, work.codec)
    return "" if fits else "what it made is not the clipped mean of what it received"
