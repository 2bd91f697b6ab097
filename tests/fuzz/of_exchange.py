"""Updates, states and files on their way between peers: messages by the real handlers, and values."""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from google.protobuf.message import DecodeError

from peer.chunks import from_bits, to_bits
from peer.codecs import codec_of, encode
from peer.exchange import circuit, snapshot
from peer.exchange.butterfly import CODECS, ExactAllReduce, _decode
from peer.exchange.carrier import Carrier
from peer.exchange.clipped import Clipped, Meeting, fault_of
from peer.exchange.delivery import Fetching
from peer.exchange.parts import decoded, encoded, mean_of
from peer.exchange.payloads import Payloads
from peer.exchange.protocol import Servicer
from peer.held import Held, Part
from peer.merge import Contribution, merge, understood
from swarm.chunks import Manifest, chunked
from swarm.errors import SwarmError
from swarm.proto import circuit_pb2, coordinator_pb2
from swarm.proto import exchange_pb2 as pb
from swarm.sections import Local
from tests.fuzz.of_files import MEMORY, SMALL, of_message, scratch, written
from tests.fuzz.run import Decoder
from tests.strangers import DIGEST, Stranger

from hivemind.compression import CompressionInfo  # isort: skip
from hivemind.p2p import PeerID  # isort: skip
from hivemind.proto import runtime_pb2  # isort: skip
from hivemind.proto.p2pd_pb2 import RPCError  # isort: skip
from peer.exchange import streams  # isort: skip
from tests.fuzz.peers import (
    COUNT,
    GROUP,
    SHAPES,
    Answering,
    B,
    Dealing,
    collected,
    context_of,
    loop,
    new_leader,
    sealed_group,
    spin,
    strangers,
    streamed,
)


def _meeting(stranger: Stranger) -> Meeting:
    """The second one reduces; the first one, which leads, sends to it."""
    stranger.way.parcel(stranger.update)
    return stranger.way._meeting(sealed_group())


def _reduced(message: pb.Part) -> None:
    first, second = strangers().strangers

    async def take() -> None:
        second.reducing.join(_meeting(second))
        first.way.parcel(first.update)
        hello = pb.Part(group_id=GROUP, leaves=first.way._offer.leaves)
        for stream in (streamed(hello, message), streamed(message, message)):
            task = asyncio.ensure_future(collected(second.reducing.rpc_reduce(stream, context_of(first))))
            await asyncio.wait([task], timeout=0.001)
            task.cancel()

    spin(take(), 0.05)
    second.reducing.meetings._works.clear()


def _dealt(message: pb.Part) -> None:
    first, second = strangers().strangers
    meeting = _meeting(first)
    way = Clipped(cast(Any, Dealing(first, message)), first.reducing, first.notary, "none", 1.0)
    way._offer = first.way._offer
    spin(way._dealt(meeting, second.node.id), 0.02)


def _shown(message: pb.Input) -> None:
    first, second = strangers().strangers
    meeting = _meeting(first)
    meeting.made[0] = encoded(torch.zeros(COUNT), "none")
    way = Clipped(cast(Any, Dealing(first, message)), first.reducing, first.notary, "none", 1.0)
    inputs = spin(way._inputs(meeting, second.node.id, 0), 0.02) or {}
    fault_of(meeting, inputs, 0)


def _input() -> pb.Input:
    first = strangers().strangers[0]
    first.way.parcel(first.update)
    return pb.Input(peer_id=first.node.id, tensor=first.way._offer.parts[0], leaves=first.way._offer.leaves)


def _asked_inputs(message: pb.InputsRequest) -> None:
    second = strangers().strangers[1]

    async def ask() -> None:
        second.reducing.join(_meeting(second))
        await collected(second.reducing.rpc_inputs(message, cast(Any, None)))

    spin(ask())
    second.reducing.meetings._works.clear()


def _brought(message: pb.PayloadPart) -> None:
    async def bring() -> None:
        carrier = Carrier(room=1 << 20)
        known = hashlib.sha256(b"x" * 64).hexdigest()
        carrier.join(GROUP, Payloads([known], 64))
        caller = cast(Any, SimpleNamespace(remote_id=PeerID(b"p" * 34)))
        try:
            await carrier.rpc_bring(streamed(message, message), caller)
            await carrier.rpc_bring(streamed(pb.PayloadPart(group_id=GROUP, sha256=known), message), caller)
        except ValueError:
            return  # the sender is told

    spin(bring(), 0.001)


def _asked_payload(message: pb.PayloadRequest) -> None:
    async def ask() -> None:
        carrier = Carrier()
        payloads = Payloads(["p" * 64], 100)
        payloads.put("p" * 64, bytes(100))
        carrier.join(GROUP, payloads)
        await collected(carrier.rpc_payload(message, cast(Any, None)))

    spin(ask())


@cache
def _file() -> Held:
    path = written(bytes(range(10)), "held")
    sha256, size, chunks = chunked(path, 4)
    blob = coordinator_pb2.Blob(name="f", sha256=sha256, size=size, chunk_size=4, chunks=chunks)
    manifest = Manifest.of(blob)
    return Held(manifest, path, set(range(manifest.count)))


def _servicer() -> Servicer:
    made = Servicer(new_leader())
    made.shelf.put(_file())
    return made


def _asked_chunk(message: pb.ChunkRequest) -> None:
    async def ask() -> None:
        await collected(_servicer().rpc_chunk(message, cast(Any, None)))

    spin(ask(), 0.02)


def _asked_holdings(message: pb.HoldingsRequest) -> None:
    async def ask() -> None:
        await _servicer().rpc_holdings(message, cast(Any, None))

    spin(ask())


@cache
def _donor() -> Servicer:
    """One whose state is open already."""

    async def make() -> Servicer:
        made = _servicer()
        made.state_source = lambda _: (_file().path, 3, DIGEST)
        await made.rpc_snapshot(pb.SnapshotRequest(), cast(Any, None))
        return made

    return loop().run_until_complete(make())


def _asked_snapshot(message: pb.SnapshotRequest) -> None:
    spin(_donor().rpc_snapshot(message, cast(Any, None)), 0.02)


def _offered(offer: pb.Snapshot) -> None:
    folder = scratch() / "states"
    folder.mkdir(exist_ok=True)
    part = Part(snapshot._manifest(offer), folder)
    try:
        part.open()
        assert part.held.path.parent == folder
    finally:
        part.close()
        part.held.path.unlink(missing_ok=True)


def _snapshot() -> pb.Snapshot:
    sha256, size, chunks = chunked(written(bytes(100), "state"), 1 << 20)
    return pb.Snapshot(
        available=True, round=3, digest=DIGEST, sha256=sha256, size=size, chunk_size=1 << 20, chunks=chunks,
        made_by=["m"],
    )  # fmt: skip


def _fetching(*messages: Any) -> Fetching:
    part = Part(_file().manifest, scratch() / "parts")
    return Fetching(cast(Any, Answering(*messages)), part, None, lambda _: None, 1.0)


def _given(message: pb.ChunkPart) -> None:
    (scratch() / "parts").mkdir(exist_ok=True)

    async def fetch() -> None:
        fetching = _fetching(message, message, message)
        assert fetching._part.open()
        try:
            await fetching._get(SimpleNamespace(donor=B, chunk=1))  # type: ignore[arg-type]
        finally:
            fetching._part.close()

    spin(fetch(), 0.05)


def _held(message: pb.Holdings) -> None:
    found = from_bits(message.chunks, 1000)
    assert from_bits(to_bits(found, 1000), 1000) == found


def _update(name: str) -> Decoder:
    codec = codec_of(Local(codec=name, kept=64))  # type: ignore[arg-type]
    draw = np.random.default_rng(0)
    good = [encode(codec, {n: draw.standard_normal(shape) for n, shape in SHAPES.items()}) for _ in range(3)]

    def take(data: bytes) -> None:
        try:
            understood(codec, data, SHAPES)
        except SwarmError:
            merge(codec, [*(Contribution(8, one) for one in good), Contribution(8, data)], SHAPES, 1.0)
        else:
            merge(codec, [Contribution(8, good[0]), Contribution(1 << 63, data)], SHAPES, 1.0)
            made = merge(codec, [*(Contribution(8, one) for one in good), Contribution(8, data)], SHAPES, 1.0)
            assert all(np.isfinite(values).all() for values in made.update.values())

    return Decoder(f"update: {name}", take, tuple(good), 2 * len(good[0]), MEMORY)


def _part(name: str) -> Decoder:
    good = [encoded(torch.randn(COUNT, generator=torch.Generator().manual_seed(n)), name) for n in range(3)]

    def take(data: bytes) -> None:
        decoded(data, COUNT, name)
        mean, _ = mean_of([*good, data], [8] * 4, COUNT, name)
        assert np.isfinite(mean).all()

    return Decoder(f"gradient: {name}", take, tuple(good), SMALL, MEMORY, message=runtime_pb2.Tensor)


def _averaged(name: str) -> Decoder:
    """A part on its way to a reducer of the plain all-reduce, and an averaged one on its way back."""
    coder = CODECS[name]()
    good = coder.compress(torch.ones(COUNT), CompressionInfo.from_tensor(torch.ones(COUNT), key=0))
    reducer: Any = SimpleNamespace(_codec=coder.compression_type)

    def take(part: runtime_pb2.Tensor) -> None:
        """Whatever it raises ends the stream of this sender, who is left out; see `ExactAllReduce`."""
        try:
            shape = ExactAllReduce._check(reducer, part, torch.Size([COUNT]))
            assert _decode(part, shape).shape == shape
        except Exception as error:
            if isinstance(error, RecursionError | MemoryError):
                raise

    return of_message(f"all-reduce: {name}", take, (good,))


def _hop() -> Decoder:
    message = circuit_pb2.Hop(type=2, status=100, limit=circuit_pb2.Limit(duration=60, data=1 << 20))
    body = message.SerializeToString()

    def take(data: bytes) -> None:
        async def read() -> None:
            reader = asyncio.StreamReader()
            reader.feed_data(data)
            reader.feed_eof()
            place = circuit.Place.__new__(circuit.Place)
            place._p2p = cast(Any, _Streaming(reader))
            place.relay = PeerID(B)
            try:
                await place._ask()
            except circuit._ERRORS:
                return

        spin(read())

    return Decoder(
        "circuit: Hop", take, (bytes([len(body)]) + body,), SMALL, MEMORY, covers=(circuit_pb2.Hop, circuit_pb2.Limit)
    )


class _Streaming:
    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def call_binary_stream_handler(self, *_: object) -> Any:
        async def drain() -> None: ...

        return None, self._reader, SimpleNamespace(write=lambda _: None, drain=drain, close=lambda: None)


def _ways() -> list[Decoder]:
    first, second = strangers().strangers
    for one in (first, second):
        one.way.parcel(one.update)
    part = pb.Part(group_id=GROUP, leaves=first.way._offer.leaves, tensor=second.way._offer.parts[0])
    brought = pb.PayloadPart(group_id=bytes(range(16)), sha256="p" * 64, manifest=["p" * 64], size=64, data=b"x" * 64)
    return [
        of_message("peer: Part, to a reducer", _reduced, (part, pb.Part(tensor=first.way._offer.parts[0]))),
        of_message("peer: Part, from a reducer", _dealt, (pb.Part(tensor=second.way._offer.parts[0], signature=b"s"),)),
        of_message("peer: InputsRequest", _asked_inputs, (pb.InputsRequest(group_id=GROUP),)),
        of_message("peer: Input", _shown, (_input(),)),
        of_message("peer: PayloadPart", _brought, (brought,)),
        of_message("peer: PayloadRequest", _asked_payload, (pb.PayloadRequest(group_id=GROUP, sha256="p" * 64),)),
        of_message("peer: PayloadReply", lambda message: message.size < 64, (pb.PayloadReply(size=64),)),
        of_message("peer: SnapshotRequest", _asked_snapshot, (pb.SnapshotRequest(at_least_round=2),)),
        of_message("peer: Snapshot", _offered, (_snapshot(),)),
        of_message("peer: HoldingsRequest", _asked_holdings, (pb.HoldingsRequest(sha256=_file().manifest.sha256),)),
        of_message("peer: Holdings", _held, (pb.Holdings(chunks=bytes(range(125))),)),
        of_message("peer: ChunkRequest", _asked_chunk, (pb.ChunkRequest(sha256=_file().manifest.sha256, chunk=1),)),
        of_message("peer: ChunkPart", _given, (pb.ChunkPart(data=bytes(range(4, 8))), pb.ChunkPart(busy=True))),
    ]


def _stream() -> Decoder:
    """What tells the messages of a stream apart, for who asks and for who answers."""
    kinds = {b"\0": pb.PayloadPart, b"\1": RPCError}

    async def read(data: bytes) -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        while await streams.received(reader, kinds) is not None:
            pass

    def framed(mark: bytes, message: Any) -> bytes:
        return bytes(mark + message.ByteSize().to_bytes(8, "big") + message.SerializeToString())

    part, error = framed(b"\0", pb.PayloadPart(group_id=GROUP, data=b"data")), framed(b"\1", RPCError(message="why"))
    seeds = (part + part + b"\2", part + error + b"\2")
    errors = (EOFError, ValueError, DecodeError)
    return Decoder("stream", lambda data: loop().run_until_complete(read(data)), seeds, SMALL, streams.LARGEST, errors)


def decoders() -> list[Decoder]:
    values = [*map(_update, ("sparse", "int8", "fp16", "none")), *map(_part, CODECS), *map(_averaged, CODECS)]
    return [*_ways(), *values, _hop(), _stream()]
