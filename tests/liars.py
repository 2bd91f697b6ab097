"""What a member of the clipped exchange may do instead of its part: each changes one `Clipped`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import torch

from peer.exchange.clipped import Clipped, Meeting
from peer.exchange.parts import decoded, encoded, leaf, root
from peer.exchange.payloads import Payloads
from peer.exchange.reducer import Reducer
from peer.exchange.states import OpenState
from swarm.proto import exchange_pb2 as pb

Lie = Callable[[Clipped], None]


def changed(data: bytes, count: int, codec: str) -> bytes:
    """An encoded part with other values."""
    values = decoded(data, count, codec)
    assert values is not None
    return encoded(torch.from_numpy(values + np.float32(1)), codec)


def lying_reducer(way: Clipped) -> None:
    """It signs and gives to all what is not the clipped mean."""
    honest = way._meeting

    def meeting(group: pb.Group) -> Meeting:
        found = honest(group)
        if reducer := found.reducer:
            make = reducer._make
            reducer._make = lambda index: changed(make(index), found.work.counts[index], found.work.codec)  # type: ignore[method-assign]
        return found

    way._meeting = meeting  # type: ignore[method-assign]


def two_faced_reducer(way: Clipped) -> None:
    """It gives the right means to itself and to the first who asks, and signs others for the rest."""
    reducing, asked = way._reducing, set[bytes]()
    honest = reducing._parts

    async def parts(meeting: Meeting, reducer: Reducer) -> AsyncIterator[pb.Part]:
        first, group_id = meeting.group.group_id not in asked, meeting.group.group_id
        asked.add(group_id)
        found = [part async for part in honest(meeting, reducer)]
        if not first:
            work, span = meeting.work, meeting.spans[way._node.id]
            for index, part in zip(span, found, strict=True):
                part.tensor = changed(part.tensor, work.counts[index], work.codec)
            digest = root(b"".join(leaf(part.tensor) for part in found))
            found[-1].signature = await asyncio.to_thread(reducing._notary.sign_share, group_id, digest)
        for part in found:
            yield part

    reducing._parts = parts  # type: ignore[method-assign]


def false_accuser(way: Clipped) -> None:
    """It says of an honest reducer that its mean is wrong."""

    async def check(meeting: Meeting) -> None:
        victim = next(peer for peer in meeting.spans if peer != way._node.id)
        meeting.complaints[victim] = pb.Complaint(
            peer_id=victim, why="made up", fault=pb.WRONG_MEAN, part=meeting.spans[victim].start
        )

    way._check_one = check  # type: ignore[method-assign]


def slanderer(way: Clipped) -> None:
    """It says of an honest reducer that nothing came from it."""

    async def check(meeting: Meeting) -> None:
        meeting.complaints.add(next(peer for peer in meeting.spans if peer != way._node.id), "made up")

    way._check_one = check  # type: ignore[method-assign]


def _sending(way: Clipped, other: Callable[[bytes], bytes | None]) -> None:
    honest = way._sending

    async def sending(meeting: Meeting, span: range) -> AsyncIterator[pb.Part]:
        async for part in honest(meeting, span):
            if part.tensor:
                data = other(part.tensor)
                if data is None:
                    await asyncio.sleep(3600)
                part.tensor = data or b""
            yield part

    way._sending = sending  # type: ignore[method-assign]


def other_parts(way: Clipped) -> None:
    """It sends something else than it signed."""
    _sending(way, lambda data: data[:-1] + bytes([data[-1] ^ 1]))


def oversized_parts(way: Clipped) -> None:
    _sending(way, lambda data: data * 4)


def silent_sender(way: Clipped) -> None:
    """It promises an update and sends nothing."""
    _sending(way, lambda _: None)


def replayer(way: Clipped) -> None:
    """Every request of it carries the seal of the first."""
    notary, honest, first = way._notary, way._notary.seal, list[bytes]()

    def seal(claim: Any, uses: Any) -> bytes:
        first.append(honest(claim, uses))
        return first[0]

    notary.seal = seal  # type: ignore[method-assign]


def other_payload(_way: object) -> None:
    """Local mode: what it gives is not what it had named."""
    honest = Payloads.read

    async def read(self: Payloads, sha256: str, offset: int) -> AsyncIterator[bytes]:
        async for data in honest(self, sha256, offset):
            yield bytes(len(data))

    Payloads.read = read  # type: ignore[method-assign]


def oversized_payload(_way: object) -> None:
    """Local mode: it gives more than an update has."""
    honest = Payloads.read

    async def read(self: Payloads, sha256: str, offset: int) -> AsyncIterator[bytes]:
        async for data in honest(self, sha256, offset):
            yield data * 3

    Payloads.read = read  # type: ignore[method-assign]


def withheld_payload(_way: object) -> None:
    """Local mode: it gives nothing."""

    async def read(_self: Payloads, _sha256: str, _offset: int) -> AsyncIterator[bytes]:
        await asyncio.sleep(3600)
        yield b""

    Payloads.read = read  # type: ignore[method-assign]


def other_state(_way: object) -> None:
    """It offers the right state, and sends other bytes."""
    OpenState.parts = lambda self, chunk: iter([b"x" * self.manifest.span(chunk)[1]])  # type: ignore[method-assign]


LIES: dict[str, Lie] = {
    lie.__name__: lie
    for lie in (
        lying_reducer,
        two_faced_reducer,
        false_accuser,
        slanderer,
        other_parts,
        oversized_parts,
        silent_sender,
        replayer,
        other_payload,
        oversized_payload,
        withheld_payload,
        other_state,
    )
}
