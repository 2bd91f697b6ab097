"""What p2pd does to streams between two real nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, closing
from typing import Any

import pytest

from peer.exchange import guard
from swarm.proto import exchange_pb2 as pb

guard.prepare()

from hivemind.p2p import P2P, P2PContext  # noqa: E402

from peer.exchange import streams  # noqa: E402

pytestmark = pytest.mark.processes

LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]
PART = pb.ChunkPart(data=bytes(100_000))

Play = Callable[[P2P, P2P], Coroutine[Any, Any, Any]]


def between_two(play: Play) -> Any:
    """What is seen when the second node calls the first."""

    async def played() -> Any:
        asked = await P2P.create(host_maddrs=LOOPBACK)
        asks = await P2P.create(
            host_maddrs=LOOPBACK, initial_peers=[str(maddr) for maddr in await asked.get_visible_maddrs()]
        )
        try:
            return await asyncio.wait_for(play(asked, asks), 60)
        finally:
            await asks.shutdown()
            await asked.shutdown()

    return asyncio.run(played())


async def three_parts(_requests: AsyncIterator[Any], _context: P2PContext) -> AsyncIterator[pb.ChunkPart]:
    for _ in range(3):
        yield PART


async def refusal(_requests: AsyncIterator[Any], _context: P2PContext) -> AsyncIterator[pb.ChunkPart]:
    raise ValueError("it has no pass")
    yield PART


async def put_up(node: P2P, handler: Any) -> None:
    await node.add_protobuf_handler("parts", handler, pb.PayloadPart, stream_input=True, stream_output=True)


async def told_late() -> AsyncIterator[pb.PayloadPart]:
    """What the one who is asked does not wait for."""
    yield pb.PayloadPart()
    await asyncio.sleep(0.2)
    yield pb.PayloadPart(data=b"more")


async def called(asked: P2P, asks: P2P) -> AsyncIterator[pb.ChunkPart]:
    answers = await asks.iterate_protobuf_handler(asked.peer_id, "parts", told_late(), pb.ChunkPart)
    async for answer in answers:
        yield answer


def test_who_reads_slowly_and_still_sends_gets_all_answers() -> None:
    """With stock hivemind p2pd throws away what it has not passed on when something comes after the handler's end."""

    async def play(asked: P2P, asks: P2P) -> list[int]:
        await put_up(asked, three_parts)
        found = []
        async for answer in called(asked, asks):
            await asyncio.sleep(0.3)
            found.append(len(answer.data))
        return found

    assert between_two(play) == [len(PART.data)] * 3


def test_who_does_not_close_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_CLOSING_SECONDS", 0.2)

    async def play(asked: P2P, asks: P2P) -> bytes:
        await put_up(asked, three_parts)
        _, reader, writer = await asks.call_binary_stream_handler(asked.peer_id, "parts")
        with closing(writer):
            return bytes(await reader.read())

    assert between_two(play).endswith(b"\2")


def test_who_is_refused_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_CLOSING_SECONDS", 3600.0)

    async def play(asked: P2P, asks: P2P) -> bytes:
        await put_up(asked, refusal)
        _, reader, writer = await asks.call_binary_stream_handler(asked.peer_id, "parts")
        with closing(writer):
            return bytes(await reader.read())

    assert between_two(play).endswith(b"it has no pass")


def test_who_keeps_many_streams_open_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_OPEN", 2)

    async def play(asked: P2P, asks: P2P) -> list[bytes]:
        await put_up(asked, three_parts)
        found = []
        with ExitStack() as kept:
            for _ in range(3):
                _, reader, writer = await asks.call_binary_stream_handler(asked.peer_id, "parts")
                kept.enter_context(closing(writer))
                found.append(await reader.readexactly(1))
        await asyncio.sleep(0.5)  # they have closed
        _, reader, writer = await asks.call_binary_stream_handler(asked.peer_id, "parts")
        with closing(writer):
            return [*found, await reader.readexactly(1)]

    assert between_two(play) == [P2P.MESSAGE_MARKER, P2P.MESSAGE_MARKER, P2P.ERROR_MARKER, P2P.MESSAGE_MARKER]


def test_who_reads_nothing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_READING_SECONDS", 0.2)
    monkeypatch.setattr(streams, "_CLOSING_SECONDS", 0.2)
    ended = []

    async def without_end(_requests: AsyncIterator[Any], _context: P2PContext) -> AsyncIterator[pb.ChunkPart]:
        try:
            while True:
                yield PART
        finally:
            ended.append(True)

    async def play(asked: P2P, asks: P2P) -> None:
        await put_up(asked, without_end)
        _, _reader, writer = await asks.call_binary_stream_handler(asked.peer_id, "parts")
        with closing(writer):
            while not ended:
                await asyncio.sleep(0.05)

    between_two(play)
    assert ended
