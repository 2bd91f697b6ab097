"""A reducer's side of the clipped mean: it waits for everybody's values of a part before it makes one of them.

All that it received is kept until the group is done, so that others can see it: about one encoded update.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from peer.exchange.base import Seen
from peer.exchange.butterfly import places
from peer.exchange.parts import HASH, Floats, decoded, encoded, hash_of, leaf, mean_of, root
from swarm.proto import exchange_pb2 as pb
from swarm.ranges import Range


@dataclass(frozen=True)
class Work:
    """What all members of a group know: the senders with samples in its order, what each sample of theirs weighs, and
    how many values each part has.
    """

    senders: Sequence[pb.GroupMember]
    weighs: Sequence[float]
    counts: Sequence[int]
    codec: str

    def mean(self, sent: Mapping[bytes, bytes], index: int) -> tuple[Floats, dict[int, str]]:
        """Of part `index` as they sent it, and which senders were refused, by their place, and why."""
        data, samples = [sent[one.peer_id] for one in self.senders], [one.samples for one in self.senders]
        return mean_of(data, samples, self.counts[index], self.codec, self.weighs)

    def look(self, parts: Mapping[int, bytes]) -> dict[Range, Floats]:
        """The values of a sender's parts, by where they are; what cannot be read counts nothing, as in the mean."""
        there = places(self.counts)
        read = {there[index]: decoded(data, self.counts[index], self.codec) for index, data in parts.items()}
        return {place: np.zeros(len(place), np.float32) if found is None else found for place, found in read.items()}


class WrongPartError(Exception):
    """A sender sent something else than it had promised."""


class LostSenderError(Exception):
    """There is no mean: this sender did not send its part."""

    def __init__(self, sender: bytes) -> None:
        super().__init__()
        self.sender = sender


class Reducer:
    """The parts in `span`."""

    def __init__(self, work: Work, span: range) -> None:
        self.refused: dict[bytes, str] = {}  # senders that were left out of a part, and why
        self._work = work
        self._span = span
        self._promised: dict[bytes, bytes] = {}  # the leaves of each sender's update
        self._parts: dict[int, dict[bytes, bytes]] = {index: {} for index in span}
        self._full = {index: asyncio.Event() for index in span}
        self._gone: set[bytes] = set()
        self._made: dict[int, asyncio.Task[bytes]] = {}

    def promise(self, sender: bytes, leaves: bytes) -> None:
        """Take the hashes of all that it sends. Raises WrongPartError when its payload is not named by them."""
        named = next((m.payload for m in self._work.senders if m.peer_id == sender), None)
        if root(leaves) != named or len(leaves) != HASH * len(self._work.counts):
            raise WrongPartError("its parts are not those that it signed")
        self._promised[sender] = leaves

    def put(self, sender: bytes, index: int, data: bytes) -> None:
        """Take part `index` of a sender's. Raises WrongPartError."""
        if index not in self._parts or leaf(data) != hash_of(self._promised[sender], index):
            raise WrongPartError("a part is not the one that it signed")
        self._parts[index][sender] = data
        self._look(index)

    def lose(self, sender: bytes) -> None:
        """Wait no longer: without this sender there is no mean, and everybody is told so."""
        self._gone.add(sender)
        for full in self._full.values():
            full.set()

    def missing(self) -> set[bytes]:
        """Who has not sent everything yet. Nobody once one is lost: there will be no mean, and who hears that stops."""
        senders = {member.peer_id for member in self._work.senders} if not self._gone else set()
        return {one for one in senders if any(one not in parts for parts in self._parts.values())}

    async def mean(self, index: int) -> bytes:
        """The mean of a part, encoded once for all; waits for all senders. Raises LostSenderError."""
        await self._full[index].wait()
        if self._gone:
            raise LostSenderError(min(self._gone))
        if index not in self._made:
            self._made[index] = asyncio.ensure_future(asyncio.to_thread(self._make, index))
        return await asyncio.shield(self._made[index])

    async def digest(self) -> str:
        """Of all that it made."""
        return root(b"".join([leaf(await self.mean(index)) for index in self._span]))

    def inputs(self, index: int) -> list[pb.Input]:
        """What came of a part of its own."""
        parts = self._parts.get(index, {})
        return [pb.Input(peer_id=one, tensor=data, leaves=self._promised[one]) for one, data in parts.items()]

    def sent_by(self, sender: bytes) -> dict[int, bytes]:
        """The parts of its own that came from there."""
        return {index: parts[sender] for index, parts in self._parts.items() if sender in parts}

    def _look(self, index: int) -> None:
        if all(member.peer_id in self._parts[index] for member in self._work.senders):
            self._full[index].set()

    def _make(self, index: int) -> bytes:
        mean, refused = self._work.mean(self._parts[index], index)
        self.refused |= {self._work.senders[place].peer_id: why for place, why in refused.items()}
        return encoded(torch.from_numpy(mean), self._work.codec)


def seen_by(
    work: Work, reducer: Reducer | None, shown: Mapping[int, Mapping[bytes, pb.Input]], watched: str
) -> dict[str, Seen]:
    """What a member saw of the update of the one that it watches: as a reducer, and of the parts that others showed."""
    sender = next((one for one in work.senders if watched and one.member == watched), None)
    if sender is None:
        return {}
    own = reducer.sent_by(sender.peer_id) if reducer else {}
    drawn = {part: inputs[sender.peer_id].tensor for part, inputs in shown.items()}
    return {watched: Seen(sender.samples, tuple(work.look(parts) for parts in (own, drawn) if parts))}
