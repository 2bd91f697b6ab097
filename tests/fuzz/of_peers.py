"""What peers take from each other: their messages by the real handlers, updates, and what is written in the DHT."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import numpy as np
import torch

from peer.chunks import from_bits, to_bits
from peer.codecs import codec_of, encode
from peer.exchange import attempt, circuit, court, node, reporter, snapshot
from peer.exchange.base import Update
from peer.exchange.butterfly import CODECS, ExactAllReduce, _decode
from peer.exchange.carrier import Carrier
from peer.exchange.clipped import Clipped, Meeting, fault_of
from peer.exchange.closing import SampleTarget
from peer.exchange.delivery import Fetching
from peer.exchange.gather import Gather
from peer.exchange.leader import Leader, Rules
from peer.exchange.parts import decoded, encoded, mean_of
from peer.exchange.payloads import Payloads
from peer.exchange.protocol import Servicer
from peer.exchange.records import LARGEST, Readable
from peer.exchange.rounds import Member, leader_of
from peer.held import Held, Part
from peer.merge import Contribution, merge, understood
from peer.seals import Claim, nonce_of
from swarm.chunks import Manifest, chunked
from swarm.errors import SwarmError
from swarm.proto import circuit_pb2, coordinator_pb2
from swarm.proto import exchange_pb2 as pb
from swarm.sections import Local
from tests.fuzz.of_files import MEMORY, SMALL, of_message, scratch, written
from tests.fuzz.run import Decoder
from tests.strangers import DIGEST, Stranger, Table, Wire

from hivemind.compression import CompressionInfo  # isort: skip
from hivemind.dht.protocol import DHTProtocol  # isort: skip
from hivemind.dht.routing import DHTID  # isort: skip
from hivemind.dht.storage import DictionaryDHTValue  # isort: skip
from hivemind.dht.validation import DHTRecord  # isort: skip
from hivemind.p2p import P2PDaemonError, PeerID  # isort: skip
from hivemind.proto import dht_pb2, runtime_pb2  # isort: skip
from hivemind.utils import MSGPackSerializer, get_dht_time  # isort: skip
from hivemind.utils.timed_storage import ValueWithExpiration  # isort: skip

MESSAGE = 4 << 20  # bytes: what hivemind's P2P takes at most
SHAPES = {"a": (64, 128), "b": (300,)}
_COUNT = 1000  # values of a gradient's part
_GROUP = bytes(16)
_A, _B = b"a", b"b"
T = TypeVar("T")


# ── running handlers ────────────────────────────────────────────────────────────────────────────


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def spin(work: Coroutine[Any, Any, T], seconds: float = 0.0) -> T | None:
    """What the coroutine gives within some turns of the loop, or so many seconds; then it is cancelled, with whatever it
    began.
    """

    async def bounded() -> T | None:
        task = asyncio.ensure_future(work)
        for _ in range(12):
            await asyncio.sleep(0)
        if seconds and not task.done():
            await asyncio.wait([task], timeout=seconds)
        if not task.done():
            task.cancel()
        await asyncio.wait([task])
        others = asyncio.all_tasks() - {cast(Any, asyncio.current_task())}
        for other in others:
            other.cancel()
        ends = await asyncio.gather(*others, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end
        return None if task.cancelled() else task.result()

    return _loop().run_until_complete(bounded())


async def _all(stream: AsyncIterator[T], most: int = 4) -> list[T]:
    found = []
    async for item in stream:
        found.append(item)
        if len(found) == most:
            break
    return found


async def _streamed(*messages: T) -> AsyncIterator[T]:
    for message in messages:
        yield message


def _from(peer: bytes) -> Any:
    return SimpleNamespace(remote_id=PeerID(peer))


def _members() -> list[Member]:
    return [Member(0.0, _A, member="m"), Member(1.0, _B, member="n")]


def _leader() -> Leader:
    return Leader(_A, Rules(SampleTarget(1), 0.0, 10.0), _members)


# ── rounds ──────────────────────────────────────────────────────────────────────────────────────


def _progress(message: pb.Progress) -> None:
    async def say() -> None:
        leader = _leader()
        await Servicer(leader).rpc_progress(message, _from(_B))

    spin(say())


def _ready(message: pb.ReadyRequest) -> None:
    async def say() -> None:
        leader = _leader()
        await leader.ready(_B, message)

    spin(say())


@cache
def _table() -> Table:
    """Two strangers that agree on everything; the second one speaks nonsense."""

    async def make() -> Table:
        wire = Wire()
        made = [Stranger(name, wire) for name in ("one", "two")]
        for number, one in enumerate(made):
            one.tensors = {"w": torch.arange(_COUNT, dtype=torch.float32) * (number + 1)}
        return Table(made)

    return _loop().run_until_complete(make())


def _judged(message: pb.ReadyRequest) -> None:
    table = _table()
    spin(table.court.ready(table.strangers[1].node.id, message))


def _formed() -> attempt.Attempt:
    """A group of the two strangers in front of the court."""
    group = _sealed_group()
    made = attempt.Attempt(members=tuple(member.peer_id for member in group.members))
    made.group.set_result(group)
    return made


@cache
def _sealed_group() -> pb.Group:
    group = _table().group()
    group.group_id, group.verdict = _GROUP, pb.GO
    return group


def _committed(message: pb.CommitRequest) -> None:
    table = _table()

    async def say() -> None:
        table.court._attempts[_GROUP] = _formed()
        await table.court.commit(table.strangers[1].node.id, message)

    spin(say())
    table.court._attempts.clear()
    table.court.outcomes.clear()
    table.court.admit(table.strangers[0].notary)


def _grouped(group: pb.Group) -> None:
    """As `SwarmExchange` takes the leader's word."""
    stranger = _table().strangers[1]
    payload = hashlib.sha256(stranger.way.parcel(stranger.update)).hexdigest()
    if group.verdict != pb.GO or attempt.unsound(group, stranger.node.id, payload):
        return
    if not court.objection(stranger.notary, group, 0, DIGEST):
        spin(stranger.way.average(group, stranger.update, b""), 0.02)
    stranger.reducing.meetings._works.clear()


def _gathered(group: pb.Group) -> None:
    """The same among members that know each other, in local mode: nothing is sealed."""
    update = _ones()
    wire = Wire()
    own = Stranger("two", wire).node
    own.stub = lambda *_: cast(Any, _Silent())  # type: ignore[method-assign]

    async def average() -> object:
        way = Gather(cast(node.Node, own), Carrier(), Local(), 0.01)
        parcel = way.parcel(update)
        if attempt.unsound(group, own.id, hashlib.sha256(parcel).hexdigest()):
            return None
        return await way.average(group, update, parcel)

    spin(average(), 0.05)


def _ones() -> Update:
    return Update(0, DIGEST, 8, {name: torch.ones(*shape) for name, shape in SHAPES.items()})


class _Silent:
    def __getattr__(self, _: str) -> Callable[..., Any]:
        async def call(*_args: object, **_kwargs: object) -> Any:
            raise P2PDaemonError("nobody there")

        return call


# ── updates on their way ────────────────────────────────────────────────────────────────────────


def _meeting(stranger: Stranger) -> Meeting:
    """The second one reduces; the first one, which leads, sends to it."""
    stranger.way.parcel(stranger.update)
    return stranger.way._meeting(_sealed_group())


def _reduced(message: pb.Part) -> None:
    first, second = _table().strangers

    async def take() -> None:
        second.reducing.join(_meeting(second))
        first.way.parcel(first.update)
        hello = pb.Part(group_id=_GROUP, leaves=first.way._offer.leaves)
        for stream in (_streamed(hello, message), _streamed(message, message)):
            task = asyncio.ensure_future(_all(second.reducing.rpc_reduce(stream, _context(first))))
            await asyncio.wait([task], timeout=0.001)
            task.cancel()

    spin(take(), 0.05)
    second.reducing.meetings._works.clear()


def _context(stranger: Stranger) -> Any:
    return SimpleNamespace(remote_id=SimpleNamespace(to_bytes=lambda: stranger.node.id))


class _Answering:
    """A node at which every stub's method gives these messages."""

    line = SimpleNamespace(passed=lambda _: None, send=None)

    def __init__(self, *messages: Any) -> None:
        self._messages = messages
        self.id = b"own"

    def stub(self, *_: object) -> Any:
        return self

    def members(self) -> list[Member]:
        return _members()

    def __getattr__(self, _: str) -> Callable[..., Any]:
        async def call(*_args: object, **_kwargs: object) -> Any:
            return _streamed(*self._messages)

        return call


def _dealt(message: pb.Part) -> None:
    first, second = _table().strangers
    meeting = _meeting(first)
    way = Clipped(cast(Any, _Dealing(first, message)), first.reducing, first.notary, "none", 1.0)
    way._offer = first.way._offer
    spin(way._dealt(meeting, second.node.id), 0.02)


class _Dealing(_Answering):
    def __init__(self, own: Stranger, *messages: Any) -> None:
        super().__init__(*messages)
        self.id = own.node.id


def _shown(message: pb.Input) -> None:
    first, second = _table().strangers
    meeting = _meeting(first)
    meeting.made[0] = encoded(torch.zeros(_COUNT), "none")
    way = Clipped(cast(Any, _Dealing(first, message)), first.reducing, first.notary, "none", 1.0)
    inputs = spin(way._inputs(meeting, second.node.id, 0), 0.02) or {}
    fault_of(meeting, inputs, 0)


def _input() -> pb.Input:
    first = _table().strangers[0]
    first.way.parcel(first.update)
    return pb.Input(peer_id=first.node.id, tensor=first.way._offer.parts[0], leaves=first.way._offer.leaves)


def _asked_inputs(message: pb.InputsRequest) -> None:
    second = _table().strangers[1]

    async def ask() -> None:
        second.reducing.join(_meeting(second))
        await _all(second.reducing.rpc_inputs(message, cast(Any, None)))

    spin(ask())
    second.reducing.meetings._works.clear()


def _brought(message: pb.PayloadPart) -> None:
    async def bring() -> None:
        carrier = Carrier(room=1 << 20)
        known = hashlib.sha256(b"x" * 64).hexdigest()
        carrier.join(_GROUP, Payloads([known], 64))
        try:
            await carrier.rpc_bring(_streamed(message, message), cast(Any, None))
            await carrier.rpc_bring(_streamed(pb.PayloadPart(group_id=_GROUP, sha256=known), message), cast(Any, None))
        except ValueError:
            return  # the sender is told

    spin(bring(), 0.001)


def _asked_payload(message: pb.PayloadRequest) -> None:
    async def ask() -> None:
        carrier = Carrier()
        payloads = Payloads(["p" * 64], 100)
        payloads.put("p" * 64, bytes(100))
        carrier.join(_GROUP, payloads)
        await _all(carrier.rpc_payload(message, cast(Any, None)))

    spin(ask())


# ── files ───────────────────────────────────────────────────────────────────────────────────────


@cache
def _file() -> Held:
    path = written(bytes(range(10)), "held")
    sha256, size, chunks = chunked(path, 4)
    blob = coordinator_pb2.Blob(name="f", sha256=sha256, size=size, chunk_size=4, chunks=chunks)
    manifest = Manifest.of(blob)
    return Held(manifest, path, set(range(manifest.count)))


def _servicer() -> Servicer:
    made = Servicer(_leader())
    made.shelf.put(_file())
    return made


def _asked_chunk(message: pb.ChunkRequest) -> None:
    async def ask() -> None:
        await _all(_servicer().rpc_chunk(message, cast(Any, None)))

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
        made.state_source = lambda: (_file().path, 3, DIGEST)
        await made.rpc_snapshot(pb.SnapshotRequest(), cast(Any, None))
        return made

    return _loop().run_until_complete(make())


def _asked_snapshot(message: pb.SnapshotRequest) -> None:
    spin(_donor().rpc_snapshot(message, cast(Any, None)), 0.02)


def _asked_outcome(message: pb.OutcomeQuery) -> None:
    async def ask() -> None:
        await _servicer().rpc_outcome(message, cast(Any, None))

    spin(ask())


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
        available=True, round=3, digest=DIGEST, sha256=sha256, size=size, chunk_size=1 << 20, chunks=chunks, made_by=["m"]
    )  # fmt: skip


def _fetching(*messages: Any) -> Fetching:
    part = Part(_file().manifest, scratch() / "parts")
    return Fetching(cast(Any, _Answering(*messages)), part, None, lambda _: None, 1.0)


def _given(message: pb.ChunkPart) -> None:
    (scratch() / "parts").mkdir(exist_ok=True)

    async def fetch() -> None:
        fetching = _fetching(message, message, message)
        assert fetching._part.open()
        try:
            await fetching._get(SimpleNamespace(donor=_B, chunk=1))  # type: ignore[arg-type]
        finally:
            fetching._part.close()

    spin(fetch(), 0.05)


def _held(message: pb.Holdings) -> None:
    found = from_bits(message.chunks, 1000)
    assert from_bits(to_bits(found, 1000), 1000) == found


# ── values of updates ───────────────────────────────────────────────────────────────────────────


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
    good = [encoded(torch.randn(_COUNT, generator=torch.Generator().manual_seed(n)), name) for n in range(3)]

    def take(data: bytes) -> None:
        decoded(data, _COUNT, name)
        mean, _ = mean_of([*good, data], [8] * 4, _COUNT, name)
        assert np.isfinite(mean).all()

    return Decoder(f"gradient: {name}", take, tuple(good), SMALL, MEMORY, message=runtime_pb2.Tensor)


def _averaged(name: str) -> Decoder:
    """A part on its way to a reducer of the plain all-reduce, and an averaged one on its way back."""
    coder = CODECS[name]()
    good = coder.compress(torch.ones(_COUNT), CompressionInfo.from_tensor(torch.ones(_COUNT), key=0))
    reducer: Any = SimpleNamespace(_codec=coder.compression_type)

    def take(part: runtime_pb2.Tensor) -> None:
        """Whatever it raises ends the stream of this sender, who is left out; see `ExactAllReduce`."""
        try:
            shape = ExactAllReduce._check(reducer, part, torch.Size([_COUNT]))
            assert _decode(part, shape).shape == shape
        except Exception as error:
            if isinstance(error, RecursionError | MemoryError):
                raise

    return of_message(f"all-reduce: {name}", take, (good,))


# ── small words ─────────────────────────────────────────────────────────────────────────────────


def _seal() -> Decoder:
    one = _table().strangers[0]
    claim = Claim(0, DIGEST, "p" * 64, 8, one.identity.member_id, one.node.id)
    seed = one.notary.seal(claim)

    def take(data: bytes) -> None:
        assert data == seed or one.notary.objection(claim, data) or _same_seal(data, seed)
        nonce_of(data)
        one.notary.made(_GROUP, DIGEST, data[:64], data)

    return Decoder("seal", take, (seed,), SMALL, MEMORY, message=pb.Seal, covers=(pb.Seal,))


def _same_seal(data: bytes, seed: bytes) -> bool:
    """Written another way, or with fields that nobody reads."""
    mine, other = pb.Seal.FromString(data), pb.Seal.FromString(seed)
    return (mine.public_key, mine.nonce, mine.signature) == (other.public_key, other.nonce, other.signature)


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
            place.relay = PeerID(_B)
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


def _outcome(message: pb.Outcome) -> None:
    attempt.for_member(message, DIGEST).SerializeToString()


def _view(message: pb.SwarmView) -> None:
    reporter._read(message, pb.Progress(round=3))


# ── the DHT ─────────────────────────────────────────────────────────────────────────────────────


def _record() -> Decoder:
    """The value of a record, as it is stored, and as this project reads it."""
    dumps = MSGPackSerializer.dumps
    seeds = [[1.8e9, False, True, "m"], ["m", 3], True, "a hand-over", (1, (2, 3))]
    key = b"\x12\x20" + bytes(32)

    def take(data: bytes) -> None:
        for subkey in (dumps(key), data):
            if not Readable().validate(DHTRecord(b"k" * 20, subkey, data, 1.0)):
                continue
            value = ValueWithExpiration(MSGPackSerializer.loads(data), 1.0)
            name = MSGPackSerializer.loads(subkey)
            node._farewell(value)
            found = node._parse(name, value)
            leader_of([*_members(), *([found] if found else [])])

    return Decoder("DHT: record", take, tuple(map(dumps, seeds)), 2 * LARGEST, MEMORY)


def _protocol(*answers: Any) -> DHTProtocol:
    """As `DHTProtocol.create` makes it, without a network."""
    made = DHTProtocol.__new__(DHTProtocol)
    made.p2p = SimpleNamespace(call_protobuf_handler=_called(*answers), peer_id=PeerID(_A))
    made.node_id, made.bucket_size, made.num_replicas, made.wait_timeout = DHTID(1), 20, 5, 3.0
    from hivemind.dht.routing import RoutingTable
    from hivemind.dht.storage import DHTLocalStorage

    made.storage, made.cache = DHTLocalStorage(), DHTLocalStorage(maxsize=1)
    made.routing_table = RoutingTable(DHTID(1), 20, 5)
    made.rpc_semaphore = asyncio.Semaphore(10)
    made.client_mode, made.authorizer, made.record_validator = False, None, Readable()
    made.node_info = dht_pb2.NodeInfo(node_id=DHTID(1).to_bytes())
    return made


def _called(*answers: Any) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def call(*_: object, **__: object) -> Any:
        if answers:
            return answers[0]
        raise P2PDaemonError("nobody there")

    return call


def _asked_dht(method: str) -> Callable[[Any], None]:
    """hivemind answers with an error when a handler raises; what it has stored must be readable for others then."""

    def take(message: Any) -> None:
        async def ask() -> None:
            protocol = _protocol()
            try:
                await getattr(protocol, method)(message, _from(_B))
            except Exception as error:
                if isinstance(error, RecursionError | MemoryError):
                    raise
            for key, found in list(protocol.storage.items()):
                _readable(found.value)
                await protocol.rpc_find(dht_pb2.FindRequest(keys=[key.to_bytes()]), _from(_B))

        _quietly(ask())

    return take


def _readable(value: Any) -> None:
    """As hivemind's search unpacks what it found, without catching anything."""
    if isinstance(value, DictionaryDHTValue):
        for _, (data, _expires) in value.items():
            MSGPackSerializer.loads(data)
    else:
        MSGPackSerializer.loads(value)


def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """hivemind's own tasks may fail: nobody waits for them."""

    async def run() -> None:
        await work
        others = asyncio.all_tasks() - {cast(Any, asyncio.current_task())}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    _loop().run_until_complete(run())


def _found(message: Any) -> None:
    async def ask() -> None:
        found = await _protocol(message).call_find(PeerID(_B), [DHTID(3)])
        for value, _ in (found or {}).values():
            if value is not None:
                _readable(value.value)

    _quietly(ask())


def _dht() -> list[Decoder]:
    dumps, later = MSGPackSerializer.dumps, get_dht_time() + 1e6
    value, subkey = dumps([1.8e9, False, True, "m"]), dumps(b"\x12\x20" + bytes(32))
    whole = DictionaryDHTValue()
    whole.store(b"\x12\x20" + bytes(32), value, later)
    key, peer = DHTID(3).to_bytes(), dht_pb2.NodeInfo(node_id=DHTID(5).to_bytes())

    def stored(tag: bytes, data: bytes) -> Any:
        return dht_pb2.StoreRequest(
            keys=[key], subkeys=[tag], values=[data], expiration_time=[later], in_cache=[False], peer=peer
        )

    stores = stored(subkey, value), stored(DHTProtocol.IS_REGULAR_VALUE, value), stored(b"", dumps(whole))
    result = dht_pb2.FindResult(
        type=dht_pb2.FOUND_DICTIONARY, value=dumps(whole), expiration_time=later,
        nearest_node_ids=[key], nearest_peer_ids=[_B],
    )  # fmt: skip
    regular = dht_pb2.FindResult(type=dht_pb2.FOUND_REGULAR, value=value, expiration_time=later)
    return [
        _record(),
        of_message("DHT: StoreRequest", _asked_dht("rpc_store"), stores),
        of_message("DHT: FindRequest", _asked_dht("rpc_find"), (dht_pb2.FindRequest(keys=[key], peer=peer),)),
        of_message("DHT: PingRequest", _asked_dht("rpc_ping"), (dht_pb2.PingRequest(peer=peer, validate=True),)),
        of_message(
            "DHT: FindResponse",
            _found,
            (dht_pb2.FindResponse(results=[result]), dht_pb2.FindResponse(results=[regular], peer=peer)),
        ),
        Decoder(
            "bootstrap address",
            lambda data: node._usable([data.decode(errors="replace")]),
            (b"/ip4/127.0.0.1/tcp/1/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC", b"/dns4/a.b/tcp/9/p2p/Qm"),
            SMALL,
            MEMORY,
        ),
    ]


# ── the table ───────────────────────────────────────────────────────────────────────────────────


def _rounds() -> list[Decoder]:
    first, second = _table().strangers
    ready, group = second.ready(), _sealed_group()
    share = pb.Share(peer_id=first.node.id, sha256="0" * 64, signature=bytes(64))
    complaint = pb.Complaint(peer_id=first.node.id, why="w", fault=pb.WRONG_MEAN)
    said = pb.CommitRequest(group_id=_GROUP, round=0, complete=True, digest=DIGEST, norm=1.0)
    said.rates.append(pb.Rate(peer_id=first.node.id, bytes_per_second=1e6))
    lied = pb.CommitRequest(group_id=_GROUP, why="w", complaints=[complaint], shares=[share])
    payload = hashlib.sha256(Gather(cast(Any, first.node), Carrier(), Local(), 1.0).parcel(_ones())).hexdigest()
    seats = [pb.GroupMember(peer_id=one.node.id, samples=8, payload=payload, member="m") for one in (first, second)]
    plain = pb.Group(group_id=_GROUP, members=seats, leader=first.node.id)
    return [
        of_message("peer: Progress", _progress, (pb.Progress(samples=8, samples_per_second=2.0, hold_seconds=5.0),)),
        of_message("peer: SwarmView", _view, (pb.SwarmView(round=3, samples=8, members=2, why="w"),)),
        of_message("peer: ReadyRequest", _ready, (ready,)),
        of_message("peer: ReadyRequest, sealed", _judged, (ready,)),
        of_message("peer: Group, sealed", _grouped, (group,)),
        of_message("peer: Group, local mode", _gathered, (plain, group)),
        of_message("peer: CommitRequest", _committed, (said, lied)),
        of_message("peer: Outcome", _outcome, (pb.Outcome(digest=DIGEST, norm=1.0, why="w"),)),
        of_message("peer: OutcomeQuery", _asked_outcome, (pb.OutcomeQuery(group_id=_GROUP, round=1),)),
        of_message(
            "peer: OutcomeReply",
            lambda message: _outcome(message.outcome),
            (pb.OutcomeReply(known=True, outcome=pb.Outcome(digest=DIGEST)),),
        ),
    ]


def _ways() -> list[Decoder]:
    first, second = _table().strangers
    second.way.parcel(second.update)
    part = pb.Part(group_id=_GROUP, leaves=first.way._offer.leaves, tensor=second.way._offer.parts[0])
    brought = pb.PayloadPart(group_id=bytes(range(16)), sha256="p" * 64, manifest=["p" * 64], size=64, data=b"x" * 64)
    return [
        of_message("peer: Part, to a reducer", _reduced, (part, pb.Part(tensor=first.way._offer.parts[0]))),
        of_message("peer: Part, from a reducer", _dealt, (pb.Part(tensor=second.way._offer.parts[0], signature=b"s"),)),
        of_message("peer: InputsRequest", _asked_inputs, (pb.InputsRequest(group_id=_GROUP),)),
        of_message("peer: Input", _shown, (_input(),)),
        of_message("peer: PayloadPart", _brought, (brought,)),
        of_message("peer: PayloadRequest", _asked_payload, (pb.PayloadRequest(group_id=_GROUP, sha256="p" * 64),)),
        of_message("peer: PayloadReply", lambda message: message.size < 64, (pb.PayloadReply(size=64),)),
        of_message("peer: SnapshotRequest", _asked_snapshot, (pb.SnapshotRequest(at_least_round=2),)),
        of_message("peer: Snapshot", _offered, (_snapshot(),)),
        of_message("peer: HoldingsRequest", _asked_holdings, (pb.HoldingsRequest(sha256=_file().manifest.sha256),)),
        of_message("peer: Holdings", _held, (pb.Holdings(chunks=bytes(range(125))),)),
        of_message("peer: ChunkRequest", _asked_chunk, (pb.ChunkRequest(sha256=_file().manifest.sha256, chunk=1),)),
        of_message("peer: ChunkPart", _given, (pb.ChunkPart(data=bytes(range(4, 8))), pb.ChunkPart(busy=True))),
    ]


def decoders() -> list[Decoder]:
    values = [*map(_update, ("sparse", "int8", "fp16", "none")), *map(_part, CODECS), *map(_averaged, CODECS)]
    return [*_rounds(), *_ways(), *values, _seal(), _hop(), *_dht()]


