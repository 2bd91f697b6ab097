"""Members of gradient mode's plain mean in one process: everything is real but the network."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from peer.exchange.allreduce import AllReduce
from peer.exchange.average import Average
from peer.exchange.base import Update
from peer.exchange.protocol import Servicer
from peer.exchange.ways import alike
from peer.line import Line
from swarm.proto import exchange_pb2 as pb

from hivemind.p2p import PeerID  # isort: skip - after peer.exchange

PATIENCE = 30.0


@dataclass
class Node:
    """See `peer.exchange.node.Node`. `p2p` leads to the others' handlers."""

    id: bytes
    servers: dict[PeerID, Servicer]
    run: str = "run"
    line: Line = field(default_factory=Line)

    @property
    def p2p(self) -> Any:
        return SimpleNamespace(peer_id=PeerID(self.id), servers=self.servers)

    async def lives(self, peer: bytes) -> bool:
        return PeerID(peer) in self.servers


def stub(p2p: Any, peer: PeerID, namespace: str) -> Any:
    """What hivemind's gives: a call is awaited and gives a stream, whose handler runs whether anybody reads it or not.
    Who has no handlers is not dialled.
    """

    async def call(said: AsyncIterator[Any]) -> AsyncIterator[Any]:
        answers: asyncio.Queue[Any] = asyncio.Queue()
        handler = p2p.servers[peer].rpc_aggregate_part(said, SimpleNamespace(remote_id=p2p.peer_id))
        handling = asyncio.ensure_future(handle(handler, answers))
        return answered(answers, handling)

    return SimpleNamespace(rpc_aggregate_part=call)


async def handle(handler: AsyncIterator[Any], answers: asyncio.Queue[Any]) -> None:
    try:
        async for answer in handler:
            answers.put_nowait(answer)
    finally:
        answers.put_nowait(None)


async def answered(answers: asyncio.Queue[Any], handling: asyncio.Task[None]) -> AsyncIterator[Any]:
    while (answer := await answers.get()) is not None:
        yield answer
    await handling


class Members:
    """Their ways and handlers, by name; those in `undialled` are in client mode."""

    def __init__(self, names: Collection[str], codec: str, undialled: Collection[str] = ()) -> None:
        self.undialled = undialled
        self.servicers = {name: Servicer(None) for name in sorted(names)}  # type: ignore[arg-type]
        servers = {PeerID(n.encode()): one for n, one in self.servicers.items() if n not in undialled}
        self.ways = {
            name: AllReduce(Node(name.encode(), servers), one, codec, PATIENCE, alike)  # type: ignore[arg-type]
            for name, one in self.servicers.items()
        }

    async def averages(self, updates: Mapping[str, Update], watched: str = "") -> dict[str, Average]:
        """What everybody has of an exchange when all watch the same member."""
        members = [
            pb.GroupMember(
                peer_id=name.encode(), member=name, samples=updates[name].samples, client_mode=name in self.undialled
            )
            for name in self.ways
        ]
        group = pb.Group(group_id=secrets.token_bytes(16), members=members)
        each = [way.average(group, replace(updates[name], watched=watched), b"") for name, way in self.ways.items()]
        return dict(zip(self.ways, await asyncio.gather(*each), strict=True))


@pytest.fixture
def wired(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Average]]:
    """`averages`, over handlers in this process."""
    monkeypatch.setattr(Servicer, "get_stub", staticmethod(stub))
    return averages


def averages(
    updates: Mapping[str, Update], codec: str, watched: str = "", undialled: Collection[str] = ()
) -> dict[str, Average]:
    """Of one exchange of members that never met before."""
    return asyncio.run(Members(updates, codec, undialled).averages(updates, watched))
