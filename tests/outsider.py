"""Somebody with a libp2p node who was not let in, or not with this pass: tries what can be asked of nodes."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from peer.doorkeeper import Doorkeeper
from peer.exchange.authorizer import PassAuthorizer
from peer.exchange.carrier import Carrier
from peer.exchange.clipped import Reducing
from peer.exchange.nodekey import NodeKey
from peer.exchange.protocol import Servicer
from peer.exchange.records import Records, key_of
from swarm.papers import Papers
from swarm.passes import Authority
from swarm.proto import exchange_pb2 as pb
from tests.let_in import pass_for

from hivemind.dht.protocol import DHTProtocol  # isort: skip - after peer.exchange
from hivemind.dht.routing import DHTID  # isort: skip
from hivemind.dht.validation import DHTRecord  # isort: skip
from hivemind.p2p import P2P, P2PDaemonError, P2PHandlerError, PeerID  # isort: skip
from hivemind.proto import averaging_pb2, dht_pb2  # isort: skip
from hivemind.utils import MSGPackSerializer, get_dht_time  # isort: skip
from hivemind.utils.auth import AuthRole, AuthRPCWrapper  # isort: skip


async def stream(message: Any) -> AsyncIterator[Any]:
    yield message


# What is asked of each of our servicers, by name.
OURS: dict[str, tuple[type[Any], Callable[[], Any]]] = {
    "Servicer.rpc_progress": (Servicer, lambda: pb.Progress(samples=10**6, done=True)),
    "Servicer.rpc_ready": (Servicer, pb.ReadyRequest),
    "Servicer.rpc_commit": (Servicer, pb.CommitRequest),
    "Servicer.rpc_outcome": (Servicer, pb.OutcomeQuery),
    "Servicer.rpc_snapshot": (Servicer, pb.SnapshotRequest),
    "Servicer.rpc_holdings": (Servicer, pb.HoldingsRequest),
    "Servicer.rpc_chunk": (Servicer, pb.ChunkRequest),
    "Servicer.rpc_aggregate_part": (Servicer, lambda: stream(averaging_pb2.AveragingData(group_id=b"g"))),
    "Reducing.rpc_reduce": (Reducing, lambda: stream(pb.Part(group_id=b"g"))),
    "Reducing.rpc_inputs": (Reducing, pb.InputsRequest),
    "Carrier.rpc_payload": (Carrier, pb.PayloadRequest),
    "Carrier.rpc_bring": (Carrier, lambda: stream(pb.PayloadPart(group_id=b"g"))),
}
PING, STORE, FIND = (f"DHTProtocol.rpc_{name}" for name in ("ping", "store", "find"))
DHT = {PING, STORE, FIND}


class Outsider:
    """`shows` is its pass; None: it does not even know that there are passes."""

    def __init__(self, p2p: P2P, key: NodeKey, doorkeeper: Doorkeeper, shows: bytes | None) -> None:
        self.key = key
        self._p2p = p2p
        self._doorkeeper = doorkeeper
        self._shows = shows

    @classmethod
    @asynccontextmanager
    async def at(
        cls, maddrs: list[str], authority: Path, shows: Callable[[NodeKey], bytes | None]
    ) -> AsyncIterator[Outsider]:
        """Connected to the nodes; `shows` makes its pass."""
        with tempfile.TemporaryDirectory(prefix="o-") as name:
            folder = Path(name)
            key = NodeKey.made(folder / "key")
            shown = shows(key)
            Papers(shown or b"", time.time()).keep(folder / "papers")
            known = Doorkeeper(Authority.of("test", (authority / "tls.pem").read_bytes()), folder / "papers")
            p2p = await P2P.create(
                maddrs,
                identity_path=str(folder / "key"),
                host_maddrs=["/ip4/127.0.0.1/tcp/0"],
                dht_mode="client",
                check_if_identity_free=False,
            )
            try:
                yield cls(p2p, key, known, shown)
            finally:
                await p2p.shutdown()

    async def ask(self, name: str, node: bytes) -> Any:
        """The answer, or the first part of it; an empty one when there is none. Raises P2PHandlerError."""
        if name in DHT:
            return await self._ask_dht(name, node)
        servicer, said = OURS[name]
        stub = servicer.get_stub(self._p2p, PeerID(node), namespace="test")
        answer = await asyncio.wait_for(getattr(stub, name.split(".")[1])(said()), 15.0)
        if not hasattr(answer, "__aiter__"):
            return answer
        async with aclosing(answer) as parts:
            return await asyncio.wait_for(anext(parts, None), 15.0)

    async def _ask_dht(self, name: str, node: bytes) -> Any:
        said = {PING: dht_pb2.PingRequest, STORE: self.record, FIND: lambda: dht_pb2.FindRequest(keys=[self.place()])}
        return await self.ask_dht(name.split(".")[1], node, said[name]())

    async def ask_dht(self, method: str, node: bytes, said: Any) -> Any:
        plain = super(DHTProtocol, DHTProtocol).get_stub(self._p2p, PeerID(node))
        authorizer = PassAuthorizer(self._doorkeeper, self.key)
        caller = plain if self._shows is None else AuthRPCWrapper(plain, AuthRole.CLIENT, authorizer)
        return await asyncio.wait_for(getattr(caller, method)(said), 15.0)

    def place(self, kind: str = "members") -> bytes:
        place: bytes = DHTID.generate(key_of("test", kind)).to_bytes()
        return place

    def record(self, kind: str = "members", subkey: bytes = b"", value: object = None) -> dht_pb2.StoreRequest:
        """Says that it is a member, in its own place or in that of another node."""
        value = [0.0, False, True, "outsider", 0] if value is None else value
        mine = MSGPackSerializer.dumps(subkey or self.key.peer_id)
        record = DHTRecord(self.place(kind), mine, MSGPackSerializer.dumps(value), get_dht_time() + 60)
        signed = Records("test", self._doorkeeper, self.key).sign_value(record)
        return dht_pb2.StoreRequest(
            keys=[record.key],
            subkeys=[record.subkey],
            values=[signed],
            expiration_time=[record.expiration_time],
            in_cache=[False],
        )


REFUSED = (P2PHandlerError, P2PDaemonError)

SHOWS: dict[str, Callable[[Path, NodeKey], bytes | None]] = {
    "nothing": lambda _authority, _key: None,
    "an empty pass": lambda _authority, _key: b"",
    "an expired one": lambda authority, key: pass_for(authority, key.peer_id, expires_at=time.time() - 100),
    "another run's": lambda authority, key: pass_for(authority, key.peer_id, run="other"),
    "another coordinator's": lambda authority, key: pass_for(authority / "other", key.peer_id),
    "another node's": lambda authority, _key: pass_for(authority, b"another"),
    "that of no member": lambda authority, key: pass_for(authority, key.peer_id, role="stranger"),
    "that of a banned member": lambda authority, key: pass_for(authority, key.peer_id, member="banned"),
}


async def answered(maddrs: list[str], node: bytes, authority: Path, names: Iterable[str]) -> dict[str, str]:
    """All that is not refused, with a reason, of what outsiders of every kind ask of a node."""

    async def asks(outsider: Outsider, shown: str, name: str) -> tuple[str, str]:
        try:
            said = repr(await outsider.ask(name, node))
        except REFUSED as error:
            said = "" if "refused: " in str(error) else repr(error)
        return f"{name}, with {shown}", said

    async with AsyncExitStack() as open_:
        there = [
            (await open_.enter_async_context(Outsider.at(maddrs, authority, partial(make, authority))), shown)
            for shown, make in SHOWS.items()
        ]
        said = await asyncio.gather(*(asks(one, shown, name) for one, shown in there for name in sorted(names)))
    return {what: answer for what, answer in said if answer}
