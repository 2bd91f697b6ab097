"""Members of gradient mode's plain mean in one process: everything is real but the network."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
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


@pytest.fixture
def wired(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Average]]:
    """`averages`, over handlers in this process."""
    monkeypatch.setattr(Servicer, "get_stub", staticmethod(stub))
    return averages


def averages(
    updates: Mapping[str, Update], codec: str, watched: str = "", undialled: tuple[str, ...] = ()
) -> dict[str, Average]:
    """What everybody has of an exchange, by name, when all watch the same member; `undialled` are in client mode."""
    servers: dict[PeerID, Servicer] = {}

    async def story() -> list[Average]:
        members = [
            pb.GroupMember(peer_id=name.encode(), member=name, samples=one.samples, client_mode=name in undialled)
            for name, one in sorted(updates.items())
        ]
        group = pb.Group(group_id=secrets.token_bytes(16), members=members)
        ways = {name: way(name) for name in updates}
        each = (ways[name].average(group, replace(one, watched=watched), b"") for name, one in updates.items())
        return await asyncio.gather(*each)

    def way(name: str) -> AllReduce:
        servicer = Servicer(None)  # type: ignore[arg-type]
        if name not in undialled:
            servers[PeerID(name.encode())] = servicer
        return AllReduce(Node(name.encode(), servers), servicer, codec, PATIENCE, alike)  # type: ignore[arg-type]

    return dict(zip(updates, asyncio.run(asyncio.wait_for(story(), 2 * PATIENCE)), strict=True))
