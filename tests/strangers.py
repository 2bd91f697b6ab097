"""Members of gradient mode's clipped exchange in one process: everything is real but the network."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch

from peer.exchange.average import Average
from peer.exchange.base import Update
from peer.exchange.carrier import Carrier
from peer.exchange.clipped import Clipped, Reducing
from peer.exchange.closing import Rules, SampleTarget
from peer.exchange.court import Court
from peer.exchange.rounds import Member
from peer.line import Line
from peer.seals import Claim, Notary, signer_of
from swarm.identity import Identity
from swarm.proto import exchange_pb2 as pb

from hivemind.p2p import P2PDaemonError  # isort: skip - after peer.exchange

PATIENCE = 6.0  # seconds; silence costs a third of it
DIGEST = "d" * 64


@dataclass
class Wire:
    """Who answers for whom, and how many more streams from one to another break off after their first message. Who has
    no server is gone.
    """

    servers: dict[bytes, Reducing | Carrier] = field(default_factory=dict)
    breaks: Counter[tuple[bytes, bytes]] = field(default_factory=Counter)

    async def carried(self, way: tuple[bytes, bytes], stream: AsyncGenerator[Any]) -> AsyncIterator[Any]:
        """What comes of an answer; hivemind ends the handler whose caller hung up."""
        breaks, self.breaks[way] = self.breaks[way], max(0, self.breaks[way] - 1)
        async for message in stream:
            if breaks:
                await stream.aclose()
                raise BrokenPipeError
            yield message


@dataclass
class FakeNode:
    """A place on the wire; see `peer.exchange.node.Node`."""

    id: bytes
    wire: Wire
    line: Line = field(default_factory=Line)

    def stub(self, _servicer: object, peer: bytes) -> Any:
        return _Stub(self.wire, self.id, peer)

    async def lives(self, peer: bytes) -> bool:
        return peer in self.wire.servers


class _Stub:
    """What hivemind's stub gives: a call is awaited and gives a stream."""

    def __init__(self, wire: Wire, caller: bytes, called: bytes) -> None:
        self._wire = wire
        self._way = caller, called
        self._context = SimpleNamespace(remote_id=SimpleNamespace(to_bytes=lambda: caller))

    def __getattr__(self, method: str) -> Callable[[Any], Any]:
        async def call(said: Any) -> AsyncIterator[Any]:
            if self._way[1] not in self._wire.servers:
                raise P2PDaemonError("dial backoff")
            return self._wire.carried(self._way, getattr(self._wire.servers[self._way[1]], method)(said, self._context))

        return call


class Stranger:
    """One member. `lie` may change its way after it was made."""

    def __init__(self, name: str, wire: Wire, codec: str = "none", samples: int = 8) -> None:
        self.identity = Identity.from_seed(hashlib.sha256(name.encode()).digest())
        self.samples = samples
        self.watched = ""
        self.notary = Notary("run", signer_of(self.identity), 1000)
        self.node = FakeNode(name.encode(), wire)
        self.reducing = Reducing(self.node, self.notary, PATIENCE)  # type: ignore[arg-type]
        self.way = Clipped(self.node, self.reducing, self.notary, codec, PATIENCE)  # type: ignore[arg-type]
        self.tensors: dict[str, torch.Tensor] = {}
        wire.servers[self.node.id] = self.reducing

    @property
    def update(self) -> Update:
        return Update(0, DIGEST, self.samples, self.tensors, watched=self.watched)

    def ready(self) -> pb.ReadyRequest:
        """Its word to the leader, sealed."""
        payload = hashlib.sha256(self.way.parcel(self.update)).hexdigest()
        member = self.identity.member_id
        claim = Claim(0, DIGEST, payload, self.samples, member, self.node.id)
        seal = self.notary.seal(claim)
        return pb.ReadyRequest(round=0, digest=DIGEST, samples=self.samples, payload=payload, member=member, seal=seal)


@dataclass
class Table:
    """A group of strangers around one court. The first leads."""

    strangers: list[Stranger]

    def __post_init__(self) -> None:
        leader = self.strangers[0]
        members = [Member(0.0, s.node.id, member=s.identity.member_id) for s in self.strangers]
        self.court = Court(leader.node.id, Rules(SampleTarget(1), 0.2, 10.0), lambda: members)
        self.court.admit(leader.notary)
        self.court.recheck = leader.way.recheck

    def group(self) -> pb.Group:
        """As the leader makes it of sealed words."""
        seats = []
        for stranger in self.strangers:
            said = stranger.ready()
            seats.append(
                pb.GroupMember(
                    peer_id=stranger.node.id,
                    samples=said.samples,
                    payload=said.payload,
                    member=said.member,
                    seal=said.seal,
                )
            )
        return pb.Group(group_id=secrets.token_bytes(16), members=seats, leader=self.strangers[0].node.id)

    async def averages(self, group: pb.Group) -> list[Average]:
        """What everybody has of an exchange."""
        return list(await asyncio.gather(*(one.way.average(group, one.update, b"") for one in self.strangers)))

    async def attempt(self) -> dict[str, str]:
        """A whole attempt under the court: what every member is told, by its name; groups are formed by the leader."""

        async def take_part(one: Stranger) -> str:
            group = await self.court.ready(one.node.id, one.ready())
            if group.verdict != pb.GO:
                return group.why
            average = await one.way.average(group, one.update, b"")
            said = pb.CommitRequest(
                group_id=group.group_id,
                complete=not average.broken,
                digest=average.digest,
                norm=average.norm,
                why=average.broken,
                complaints=average.complaints,
                shares=average.shares,
            )
            outcome = await self.court.commit(one.node.id, said)
            return "applied" if outcome.verdict == pb.GO else outcome.why

        for one in self.strangers:
            self.court.progress(one.node.id, pb.Progress(samples=8, done=True))
        told = await asyncio.gather(*map(take_part, self.strangers))
        return {one.node.id.decode(): why for one, why in zip(self.strangers, told, strict=True)}
