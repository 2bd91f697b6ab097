"""hivemind's butterfly all-reduce, made exact: every member of the group receives the same bytes.

Stock hivemind 1.1.12 returns `average - own` to every sender, rounded (and compressed) for each one separately, so
replicas differ in the last bits without compression and by quantisation noise with it. It also takes weight, codec
and shape from the sender. Here the reducer encodes each averaged part once and everyone, itself included, takes what
that decodes to; weights and codec come from the group. Butterfly all-reduce: Ryabinin et al. 2021, "Moshpit SGD",
arXiv:2103.03239, section 3.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod

import torch
from torch import Tensor

from peer.codecs import Floats
from peer.exchange import guard
from peer.exchange.living import first_gone
from peer.exchange.node import Node
from swarm.ranges import Range

guard.prepare()

from hivemind.averaging.allreduce import AllreduceException, AllReduceRunner, AveragingMode  # noqa: E402
from hivemind.averaging.partition import DEFAULT_PART_SIZE_BYTES, BannedException  # noqa: E402
from hivemind.compression import (  # noqa: E402
    CompressionBase,
    CompressionInfo,
    Float16Compression,
    NoCompression,
    Uniform8BitQuantization,
    deserialize_torch_tensor,
    serialize_torch_tensor,
)
from hivemind.p2p import PeerID, ServicerBase  # noqa: E402
from hivemind.proto import averaging_pb2, runtime_pb2  # noqa: E402
from hivemind.utils.asyncio import amap_in_executor  # noqa: E402

CODECS: dict[str, type[CompressionBase]] = {
    "none": NoCompression,
    "fp16": Float16Compression,
    "8bit": Uniform8BitQuantization,
}


@dataclass(frozen=True)
class Seat:
    """One member of the group: its weight is the number of its samples, times what each weighs. What a `watched` one
    sends this peer is kept.
    """

    peer_id: bytes
    weight: float
    client_mode: bool
    watched: bool = False


class ExactAllReduce(AllReduceRunner):
    """One exchange in one group. Iterating gives the averaged tensors in order.

    After the iteration, `broken` says why the result must not be used, or is empty; and `kept` holds what this reducer
    took of the watched member's, by where its parts are among all values.
    """

    def __init__(
        self,
        node: Node,
        servicer_type: type[ServicerBase],
        group_id: bytes,
        seats: Sequence[Seat],
        tensors: Sequence[Tensor],
        codec: str,
        patience: float,
    ) -> None:
        modes = [AveragingMode.CLIENT if seat.client_mode else AveragingMode.NODE for seat in seats]
        super().__init__(
            p2p=node.p2p,
            servicer_type=servicer_type,
            prefix=node.run,
            group_id=group_id,
            tensors=tensors,
            ordered_peer_ids=[PeerID(seat.peer_id) for seat in seats],
            peer_fractions=tuple(0.0 if seat.client_mode else 1.0 for seat in seats),
            modes=modes,
            sender_timeout=patience,
            reducer_timeout=2 * patience,
            compression=CODECS[codec](),
            part_size_bytes=part_size(tensors, codec, sum(not seat.client_mode for seat in seats)),
        )
        self.tensor_part_container.return_deltas = False
        self.bytes_sent = 0
        self.bytes_received = 0
        self.kept: dict[Range, Floats] = {}
        self._watched = {PeerID(seat.peer_id) for seat in seats if seat.watched}
        self._places = self._own_places()
        self._line = node.line
        self._lives = node.lives
        self._weights = {PeerID(seat.peer_id): seat.weight for seat in seats}
        self._codec = CODECS[codec].compression_type
        self._encoded: dict[int, asyncio.Task[runtime_pb2.Tensor]] = {}

    @property
    def broken(self) -> str:
        """Why this member's result is incomplete; empty when it is whole."""
        if self.banned_senders:
            return f"{len(self.banned_senders)} of {self.group_size} peers stopped sending"
        if self.tensor_part_container.failed_size:
            return "a peer that averaged a part of the vector stopped answering"
        return ""

    def _own_places(self) -> list[Range]:
        """Where each part that this reducer averages is. hivemind deals parts out in their order."""
        own = self.ordered_peer_ids.index(self.peer_id)
        before = self.tensor_part_container._input_parts_by_peer[:own]
        start = sum(part.numel() for parts in before for part, _ in parts)
        return places([part.numel() for part in self.parts_for_local_averaging], start)

    async def _communicate_with_peer(self, peer_id: PeerID) -> None:
        if peer_id != self.peer_id:
            await self._exchange_with(peer_id)
            return
        peer_index = self.ordered_peer_ids.index(peer_id)
        sender_index = self.sender_peer_ids.index(peer_id)
        for index, part in enumerate(self.parts_for_local_averaging):
            averaged = await self.tensor_part_reducer.accumulate_part(
                sender_index, index, part, weight=self._weights[peer_id]
            )
            received = deserialize_torch_tensor(await self._encode(index, averaged))
            self.tensor_part_container.register_processed_part(peer_index, index, received)

    async def _handle_missing_senders(self) -> None:
        calling = asyncio.ensure_future(self._call_missing())
        try:
            await super()._handle_missing_senders()
        finally:
            calling.cancel()

    async def _call_missing(self) -> None:
        """End the exchange at once when one that should send takes no calls."""
        if gone := await first_gone(self._missing, self._lives):
            await self._ban_sender(PeerID(gone))
            self.finalize(cancel=True)

    def _missing(self) -> list[bytes]:
        silent = set(self.sender_peer_ids) - self.active_senders - self.banned_senders
        return [sender.to_bytes() for sender in silent]

    async def _exchange_with(self, peer_id: PeerID) -> None:
        try:
            await super()._communicate_with_peer(peer_id)
        except Exception:
            self.finalize(cancel=True)  # there is no average without its part, so nothing more is waited for
            raise

    async def _generate_input_for_peer(self, peer_index: int) -> AsyncIterator[averaging_pb2.AveragingData]:
        async for message in super()._generate_input_for_peer(peer_index):
            size = len(message.tensor_part.buffer)
            self.bytes_sent += size
            self.bytes_received += size  # the averaged part comes back in the same encoding
            self._line.passed(size)
            await self._line.send(size)
            yield message

    async def _accumulate_parts_streaming(
        self, stream: AsyncIterator[averaging_pb2.AveragingData], sender_index: int
    ) -> AsyncIterator[averaging_pb2.AveragingData]:
        sender = self.sender_peer_ids[sender_index]
        index = 0
        try:
            async for part in self._decoded(stream):
                averaged = await self.tensor_part_reducer.accumulate_part(
                    sender_index, index, part, weight=self._weights[sender]
                )
                if sender in self._watched:
                    self.kept[self._places[index]] = part.detach().numpy()
                encoded = await self._encode(index, averaged)
                index += 1
                self.bytes_sent += len(encoded.buffer)
                await self._line.send(len(encoded.buffer))
                yield averaging_pb2.AveragingData(code=averaging_pb2.AVERAGED_PART, tensor_part=encoded)
        except BannedException:
            return  # the sender was too late: its parts are no longer wanted
        finally:
            if index != self.tensor_part_reducer.num_parts:
                await self._ban_sender(sender)

    async def _decoded(self, stream: AsyncIterator[averaging_pb2.AveragingData]) -> AsyncIterator[Tensor]:
        """The sender's parts, each checked against what this reducer expects next, before memory is taken."""
        shapes = iter(self.tensor_part_reducer.part_shapes)

        async def checked() -> AsyncIterator[tuple[runtime_pb2.Tensor, torch.Size]]:
            async for message in stream:
                shape = self._check(message.tensor_part, next(shapes, None))
                self.bytes_received += len(message.tensor_part.buffer)
                self._line.passed(len(message.tensor_part.buffer))
                yield message.tensor_part, shape

        async for part in amap_in_executor(lambda pair: _decode(*pair), checked(), max_prefetch=1):
            yield part

    def _check(self, part: runtime_pb2.Tensor, shape: torch.Size | None) -> torch.Size:
        if shape is None:
            raise AllreduceException("more parts than were agreed")
        if part.compression != self._codec:
            raise AllreduceException("another codec than the run's")
        if tuple(part.size) != tuple(shape) or len(part.buffer) > 4 * prod(shape) + 4096:
            raise AllreduceException("a part of another size than was agreed")
        return shape

    async def _encode(self, index: int, averaged: Tensor) -> runtime_pb2.Tensor:
        """The averaged part as everyone receives it; encoded once."""
        if index not in self._encoded:
            self._encoded[index] = asyncio.ensure_future(
                asyncio.to_thread(serialize_torch_tensor, averaged, self._codec)
            )
        return await self._encoded[index]


def _decode(part: runtime_pb2.Tensor, shape: torch.Size) -> Tensor:
    tensor: Tensor = deserialize_torch_tensor(part)
    if tensor.shape != shape or not bool(torch.isfinite(tensor).all()):
        raise AllreduceException("a part with another shape, or with values that are not finite")
    return tensor


def part_size(tensors: Sequence[Tensor], codec: str, reducers: int) -> int:
    """Bytes of an encoded part: hivemind's, or so few that each reducer gets one. Else in a small run a single one
    would average everything, and the others would see nothing.
    """
    share = -(-sum(tensor.numel() for tensor in tensors) // reducers)
    ratio = CODECS[codec]().estimate_compression_ratio(CompressionInfo.from_tensor(tensors[0], key=0))
    return min(int(DEFAULT_PART_SIZE_BYTES), int(share * tensors[0].element_size() * ratio))


def places(counts: Iterable[int], start: int = 0) -> list[Range]:
    """Where neighbouring parts of so many values are, the first of which begins at `start`."""
    return [Range(*ends) for ends in pairwise(accumulate(counts, initial=start))]


def flat(tensors: dict[str, Tensor]) -> Tensor:
    """All values one behind the other, in the order of the tensors' names."""
    return torch.cat(_each(tensors))


def _each(tensors: dict[str, Tensor]) -> list[Tensor]:
    return [tensors[name].detach().reshape(-1) for name in sorted(tensors)]


def vectors(tensors: dict[str, Tensor], codec: str) -> list[Tensor]:
    """What travels: one flat vector, or, for 8 bit, a tensor each, because a scale is shared by a part of one tensor
    only.
    """
    return _each(tensors) if codec == "8bit" else [flat(tensors)]


def tensors_from(averaged: Sequence[Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `vectors`: names and shapes of `like` with the averaged values."""
    flat = torch.cat([tensor.reshape(-1) for tensor in averaged])
    pieces = torch.split(flat, [like[name].numel() for name in sorted(like)])
    return {name: piece.reshape(like[name].shape) for name, piece in zip(sorted(like), pieces, strict=True)}
