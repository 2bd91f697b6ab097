"""Peers of one process: what the rows about their messages have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import torch

from peer.exchange.base import Update
from peer.exchange.closing import Rules, SampleTarget
from peer.exchange.leader import Leader
from peer.exchange.rounds import Member
from swarm.proto import exchange_pb2 as pb
from tests.strangers import DIGEST, Stranger, Table, Wire

from hivemind.p2p import P2PDaemonError, PeerID  # isort: skip

MESSAGE = 4 << 20  # bytes: what hivemind's P2P takes at most
SHAPES = {"a": (64, 128), "b": (300,)}
COUNT = 1000  # values of a gradient's part
GROUP = bytes(16)
A, B = b"a", b"b"
T = TypeVar("T")


@cache
def loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def spin(work: Coroutine[Any, Any, T], seconds: float = 0.0) -> T | None:
    """What the coroutine gives within some turns of the loop, or so many seconds; then it is cancelled, with what it
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

    return loop().run_until_complete(bounded())


async def collected(stream: AsyncIterator[T], most: int = 4) -> list[T]:
    found = []
    async for item in stream:
        found.append(item)
        if len(found) == most:
            break
    return found


async def streamed(*messages: T) -> AsyncIterator[T]:
    for message in messages:
        yield message


def caller(peer: bytes) -> Any:
    return SimpleNamespace(remote_id=PeerID(peer))


def members() -> list[Member]:
    return [Member(0.0, A, member="m"), Member(1.0, B, member="n")]


def new_leader() -> Leader:
    return Leader(A, Rules(SampleTarget(1), 0.0, 10.0), members)


@cache
def strangers() -> Table:
    """Two strangers that agree on everything; the second one speaks nonsense."""

    async def make() -> Table:
        wire = Wire()
        made = [Stranger(name, wire) for name in ("one", "two")]
        for number, one in enumerate(made):
            one.tensors = {"w": torch.arange(COUNT, dtype=torch.float32) * (number + 1)}
        return Table(made)

    return loop().run_until_complete(make())


@cache
def sealed_group() -> pb.Group:
    group = strangers().group()
    group.group_id, group.verdict = GROUP, pb.GO
    return group


def ones() -> Update:
    return Update(0, DIGEST, 8, {name: torch.ones(*shape) for name, shape in SHAPES.items()})


class Silent:
    def __getattr__(self, _: str) -> Callable[..., Any]:
        async def call(*_args: object, **_kwargs: object) -> Any:
            raise P2PDaemonError("nobody there")

        return call


class Answering:
    """A node at which every stub's method gives these messages."""

    line = SimpleNamespace(passed=lambda _: None, send=None)

    def __init__(self, *messages: Any) -> None:
        self._messages = messages
        self.id = b"own"

    def stub(self, *_: object) -> Any:
        return self

    def members(self) -> list[Member]:
        return members()

    def __getattr__(self, _: str) -> Callable[..., Any]:
        async def call(*_args: object, **_kwargs: object) -> Any:
            return streamed(*self._messages)

        return call


class Dealing(Answering):
    def __init__(self, own: Stranger, *messages: Any) -> None:
        super().__init__(*messages)
        self.id = own.node.id


def context_of(stranger: Stranger) -> Any:
    return SimpleNamespace(remote_id=SimpleNamespace(to_bytes=lambda: stranger.node.id))
