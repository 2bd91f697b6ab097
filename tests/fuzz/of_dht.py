"""What is written in the DHT, and what its nodes say to each other: hivemind's protocol as a node of ours runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

from peer.doorkeeper import Doorkeeper, remembered
from peer.exchange import node
from peer.exchange.records import LARGEST, Readable, Records, Said, key_of, opened
from peer.exchange.rounds import leader_of
from swarm import passes
from tests.fuzz.of_files import MEMORY, SMALL, of_message
from tests.fuzz.run import Decoder

from hivemind.dht.protocol import DHTProtocol  # isort: skip
from hivemind.dht.routing import DHTID  # isort: skip
from hivemind.dht.storage import DictionaryDHTValue  # isort: skip
from hivemind.dht.validation import DHTRecord  # isort: skip
from hivemind.p2p import P2PDaemonError, PeerID  # isort: skip
from hivemind.proto import dht_pb2  # isort: skip
from hivemind.utils import MSGPackSerializer, get_dht_time  # isort: skip
from tests.fuzz.peers import A, B, caller, loop, members


def _record() -> Decoder:
    """The value of a record, as it is stored, and as this project reads it."""
    dumps = MSGPackSerializer.dumps
    seeds = [[1.8e9, False, True, "m", 0], ["m", 3, 0], True, "a hand-over", (1, (2, 3))]
    key = b"\x12\x20" + bytes(32)

    def take(data: bytes) -> None:
        for subkey in (dumps(key), data):
            if not Readable().validate(DHTRecord(b"k" * 20, subkey, data, 1.0)):
                continue
            value = MSGPackSerializer.loads(data)
            name = MSGPackSerializer.loads(subkey)
            node._farewell(value, 0)
            found = node._parse(name, value, 0)
            leader_of([*members(), *([found] if found else [])])

    return Decoder("DHT: record", take, tuple(map(dumps, seeds)), 2 * LARGEST, MEMORY)


def _signed_record() -> Decoder:
    """The value of a record where passes are asked for."""
    records, key = Records("run", Nobody(), cast(Any, None)), DHTID.generate(key_of("run", "members")).to_bytes()
    seeds = (Said(b"\x01", b"pass", b"key", b"signature").packed(), Said(b"", b"", b"").packed())

    def take(data: bytes) -> None:
        record = DHTRecord(key, b"node", data, 1.0)
        assert not records.validate(record)
        opened(MSGPackSerializer.loads(records.strip_value(record)), True)

    return Decoder("DHT: signed record", take, seeds, 2 * LARGEST, MEMORY)


class Nobody(Doorkeeper):
    """Knows no pass."""

    def __init__(self) -> None:
        self.opened = remembered(passes.LARGEST, lambda _: None)


def _protocol(*answers: Any) -> DHTProtocol:
    """As `DHTProtocol.create` makes it, without a network."""
    made = DHTProtocol.__new__(DHTProtocol)
    made.p2p = SimpleNamespace(call_protobuf_handler=_called(*answers), peer_id=PeerID(A))
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
                await getattr(protocol, method)(message, caller(B))
            except Exception as error:
                if isinstance(error, RecursionError | MemoryError):
                    raise
            for key, found in list(protocol.storage.items()):
                _readable(found.value)
                await protocol.rpc_find(dht_pb2.FindRequest(keys=[key.to_bytes()]), caller(B))

        _quietly(ask())

    return take


def _readable(value: Any) -> None:
    """As hivemind's search unpacks what it found, without catching anything."""
    if isinstance(value, DictionaryDHTValue):
        for subkey, item in value.items():
            hash(subkey)
            MSGPackSerializer.loads(item.value)
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

    loop().run_until_complete(run())


def _found(message: Any) -> None:
    async def ask() -> None:
        found = await _protocol(message).call_find(PeerID(B), [DHTID(3)])
        for value, _ in (found or {}).values():
            if value is not None:
                _readable(value.value)

    _quietly(ask())


def decoders() -> list[Decoder]:
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
        nearest_node_ids=[key], nearest_peer_ids=[B],
    )  # fmt: skip
    regular = dht_pb2.FindResult(type=dht_pb2.FOUND_REGULAR, value=value, expiration_time=later)
    return [
        _record(),
        _signed_record(),
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
