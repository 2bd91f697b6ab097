"""What p2pd does to streams between two real nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from swarm.proto import exchange_pb2 as pb
from tests.two_nodes import two_nodes

from hivemind.p2p import P2P, P2PContext  # isort: skip - after the two nodes
from hivemind.p2p.p2p_daemon_bindings.utils import P2PHandlerError  # isort: skip
from peer.exchange import streams  # isort: skip

pytestmark = pytest.mark.processes

PART = pb.ChunkPart(data=bytes(100_000))

Play = Callable[[P2P, P2P], Coroutine[Any, Any, Any]]


def between_two(play: Play) -> Any:
    """What is seen when the second node calls the first."""

    async def played() -> Any:
        async with two_nodes() as nodes:
            return await asyncio.wait_for(play(*nodes), 60)

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


async def asked_with(asked: P2P, asks: P2P, requests: AsyncIterator[pb.PayloadPart]) -> AsyncIterator[pb.ChunkPart]:
    answers = await asks.iterate_protobuf_handler(asked.peer_id, "parts", requests, pb.ChunkPart)
    async for answer in answers:
        yield answer


@asynccontextmanager
async def opened(asked: P2P, asks: P2P) -> AsyncIterator[asyncio.StreamReader]:
    """A stream whose caller does only what a test does."""
    _, reader, writer = await asks.call_binary_stream_handler(asked.peer_id, "parts")
    with closing(writer):
        yield reader


def test_who_reads_slowly_and_still_sends_gets_all_answers() -> None:
    """With stock hivemind p2pd throws away what it has not passed on when something comes after the handler's end."""

    async def play(asked: P2P, asks: P2P) -> list[int]:
        await put_up(asked, three_parts)
        found = []
        async for answer in asked_with(asked, asks, told_late()):
            await asyncio.sleep(0.3)
            found.append(len(answer.data))
        return found

    assert between_two(play) == [len(PART.data)] * 3


def test_what_is_not_wanted_any_more_is_not_sent() -> None:
    given = []

    async def many() -> AsyncIterator[pb.PayloadPart]:
        for _ in range(300):
            given.append(True)
            yield pb.PayloadPart(data=bytes(1 << 20))

    async def play(asked: P2P, asks: P2P) -> int:
        await put_up(asked, three_parts)
        return len([answer async for answer in asked_with(asked, asks, many())])

    assert between_two(play) == 3
    assert len(given) < 300


def test_a_refusal_reaches_who_sends_much() -> None:
    """Stock hivemind closes at once, and then the reason may be lost with the stream."""

    async def many() -> AsyncIterator[pb.PayloadPart]:
        for _ in range(30):
            yield pb.PayloadPart(data=bytes(10_000))

    async def play(asked: P2P, asks: P2P) -> set[str]:
        await put_up(asked, refusal)
        found = set()
        for _ in range(50):
            with pytest.raises(P2PHandlerError) as refused:
                async for _answer in asked_with(asked, asks, many()):
                    pass
            found.add(str(refused.value))
        return found

    assert between_two(play) == {"the other says: it has no pass"}


async def all_that_comes(asked: P2P, asks: P2P) -> bytes:
    """Of a stream whose caller never closes."""
    async with opened(asked, asks) as reader:
        return bytes(await reader.read())


def test_who_answered_waits_for_its_caller_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_READING_SECONDS", 0.2)

    async def play(asked: P2P, asks: P2P) -> bytes:
        await put_up(asked, three_parts)
        return await all_that_comes(asked, asks)

    assert between_two(play).endswith(b"\2")


def test_who_is_refused_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_READING_SECONDS", 3600.0)

    async def play(asked: P2P, asks: P2P) -> bytes:
        await put_up(asked, refusal)
        return await all_that_comes(asked, asks)

    assert b"it has no pass" in between_two(play)


def test_who_keeps_many_streams_open_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_OPEN", 2)

    async def play(asked: P2P, asks: P2P) -> list[bytes]:
        await put_up(asked, three_parts)
        async with opened(asked, asks) as one, opened(asked, asks) as two, opened(asked, asks) as three:
            found = sorted([await reader.readexactly(1) for reader in (one, two, three)])
        await asyncio.sleep(0.5)  # they have closed
        async with opened(asked, asks) as again:
            return [*found, await again.readexactly(1)]

    assert between_two(play) == [P2P.MESSAGE_MARKER, P2P.MESSAGE_MARKER, P2P.ERROR_MARKER, P2P.MESSAGE_MARKER]


def test_who_reads_nothing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_READING_SECONDS", 0.2)
    ended = []

    async def without_end(_requests: AsyncIterator[Any], _context: P2PContext) -> AsyncIterator[pb.ChunkPart]:
        try:
            while True:
                yield PART
        finally:
            ended.append(True)

    async def play(asked: P2P, asks: P2P) -> None:
        await put_up(asked, without_end)
        async with opened(asked, asks):
            while not ended:
                await asyncio.sleep(0.05)

    between_two(play)


def test_a_handler_ends_when_its_caller_has_gone() -> None:
    begun, ended = [], []

    async def waits(requests: AsyncIterator[Any], _context: P2PContext) -> AsyncIterator[pb.ChunkPart]:
        async for _ in requests:
            begun.append(True)
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(True)
        yield PART

    async def play(asked: P2P, asks: P2P) -> None:
        await put_up(asked, waits)
        answers = await asks.iterate_protobuf_handler(asked.peer_id, "parts", told_late(), pb.ChunkPart)
        first = asyncio.ensure_future(anext(answers))
        while not begun:
            await asyncio.sleep(0.05)
        first.cancel()
        while not ended:
            await asyncio.sleep(0.05)

    between_two(play)


def test_nothing_is_read_before_it_is_wanted() -> None:
    """Whoever calls may be a stranger."""

    async def play() -> tuple[int, list[Any]]:
        reader = asyncio.StreamReader()
        reader.feed_data(b"\0" + bytes(8) + b"\2")
        heard = streams.Heard(reader, pb.PayloadPart)
        reading = asyncio.ensure_future(heard.read())
        await asyncio.sleep(0.05)
        before = len(reader._buffer)  # type: ignore[attr-defined]
        said = [message async for message in heard.messages()]
        reading.cancel()
        return before, said

    assert asyncio.run(play()) == (10, [pb.PayloadPart()])
