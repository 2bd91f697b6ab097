"""Calls between two nodes that go through streams; in place of hivemind's own.

Who answers must not close first. p2pd passes on what comes from libp2p and what comes from us in two threads: once we
close, one of them closes the libp2p stream both ways, the other can read it no longer and *resets* it, and on a reset
the caller's p2pd throws away what it has not passed on yet (go-libp2p-daemon v0.5, stream.go, `doStreamPipe`). The last
answers are missing then, and nobody is told. It happened to one in a hundred of large streams (docs/results.md), and
it happens always where something of the caller's comes after we closed. So who has answered says that this was all, and
closes once the caller has (docs/decisions/0035-ends-of-streams.md).

Imported by `guard.prepare` only, which must come before hivemind.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, closing, suppress
from typing import Any

from google.protobuf.message import DecodeError
from hivemind.p2p import P2P, P2PContext, PeerID
from hivemind.p2p.p2p_daemon_bindings.utils import P2PHandlerError
from hivemind.proto.p2pd_pb2 import RPCError

from peer.exchange.refusals import RefusedCallError

LARGEST = 8 << 20  # bytes of a message; ours have up to 4 MiB
_SIZE = 8  # bytes, in which a message says its own
_THAT_WAS_ALL = b"\2"  # stands where a message has its mark
_AHEAD = 2  # messages that are read before they are wanted, to see that a caller has gone
_OPEN = 64  # streams of one caller at a time: each may keep messages in our memory
_READING_SECONDS = 600.0  # until the other has taken 4 MiB, on the slowest lines
_REFUSED_SECONDS = 1.0  # until it has taken an error: strangers could fill all our sockets

Answers = Callable[[AsyncIterator[Any], P2PContext], AsyncGenerator[Any, None]]
Kinds = Mapping[bytes, type[Any]]


async def received(reader: asyncio.StreamReader, kinds: Kinds) -> Any:
    """A message, of the kind that its mark says; None when that was all. Raises IncompleteReadError where the stream
    ends, and before memory is taken ValueError; DecodeError.
    """
    mark = await reader.readexactly(1)
    if mark == _THAT_WAS_ALL:
        return None
    if mark not in kinds:
        raise ValueError(f"the mark {mark!r}, which no message has")
    size = int.from_bytes(await reader.readexactly(_SIZE), "big")
    if size > LARGEST:
        raise ValueError(f"a message of {size} bytes; {LARGEST} are the most")
    return kinds[mark].FromString(await reader.readexactly(size))


async def send(writer: asyncio.StreamWriter, message: Any, mark: bytes = P2P.MESSAGE_MARKER) -> None:
    """The inverse of `received`. Raises OSError. (Not in many pieces: asyncio logs each for which nobody is there.)"""
    data = message.SerializeToString()
    writer.write(mark + len(data).to_bytes(_SIZE, "big"))
    writer.write(data)
    await writer.drain()


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.write(_THAT_WAS_ALL)
    await writer.drain()


# ── who asks ─────────────────────────────────────────────────────────────────────────────────────


async def ask(p2p: P2P, peer: PeerID, name: str, requests: AsyncIterable[Any], kind: type[Any]) -> AsyncIterator[Any]:
    """In place of `P2P._iterate_protobuf_stream_handler`: the answers, while the requests are sent."""
    _, reader, writer = await p2p.call_binary_stream_handler(peer, name)
    return _answers(reader, writer, asyncio.ensure_future(_sent(requests, writer)), kind)


async def _sent(requests: AsyncIterable[Any], writer: asyncio.StreamWriter) -> None:
    async for request in requests:
        await send(writer, request)
    await _end(writer)


async def _answers(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sending: asyncio.Future[None], kind: type[Any]
) -> AsyncIterator[Any]:
    """What is still to be sent when the other has answered all is wanted no more."""
    kinds = {P2P.MESSAGE_MARKER: kind, P2P.ERROR_MARKER: RPCError}
    with closing(writer):
        try:
            while (answer := await _answer(reader, kinds)) is not None:
                if isinstance(answer, RPCError):
                    raise P2PHandlerError(f"the other says: {answer.message}")
                yield answer
            if sending.done():
                await sending
        finally:
            await _ended(sending)


async def _answer(reader: asyncio.StreamReader, kinds: Kinds) -> Any:
    """None also where the stream just ends: whoever counts on more counts. Raises OSError."""
    try:
        return await received(reader, kinds)
    except asyncio.IncompleteReadError:
        return None
    except (ValueError, DecodeError) as error:
        raise ConnectionAbortedError(f"what the other said cannot be read: {error}") from error


# ── who answers ──────────────────────────────────────────────────────────────────────────────────


_held = Counter[PeerID]()  # how many streams each caller has, at all nodes of this process


async def add(p2p: P2P, name: str, answers: Answers, kind: type[Any], *, balanced: bool = False) -> None:
    """In place of `P2P._add_protobuf_stream_handler`: from now on `answers` says what is answered to requests."""

    async def handled(info: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = info.peer_id
        context = P2PContext(handle_name=name, local_id=p2p.peer_id, remote_id=caller)
        _held[caller] += 1
        try:
            await _handle(answers if _held[caller] <= _OPEN else _too_many, context, Heard(reader, kind), writer)
        finally:
            _held[caller] -= 1
            if not _held[caller]:
                del _held[caller]

    await p2p.add_binary_stream_handler(name, handled, balanced)


async def _too_many(_requests: AsyncIterator[Any], _context: P2PContext) -> AsyncGenerator[Any, None]:
    raise RefusedCallError(f"refused: {_OPEN} streams are open already")
    yield  # makes it a generator, as all handlers of streams are


async def _handle(answers: Answers, context: P2PContext, heard: Heard, writer: asyncio.StreamWriter) -> None:
    """Answer one caller, until it has gone."""
    answering = asyncio.ensure_future(_say_all(answers(heard.messages(), context), writer))
    reading = asyncio.ensure_future(heard.read())
    try:
        await asyncio.wait({answering, reading}, return_when=asyncio.FIRST_COMPLETED)
        await _ended(reading)
        if answering.done() and (seconds := answering.result()):
            await _taken(_part(heard, writer), writer, seconds)
    finally:
        writer.close()
        await _ended(answering)


async def _ended(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _say_all(answers: AsyncGenerator[Any, None], writer: asyncio.StreamWriter) -> float:
    """How many seconds the caller has to take what was said; none when it takes nothing."""
    try:
        async with aclosing(answers):
            async for answer in answers:
                if not await _taken(send(writer, answer), writer, _READING_SECONDS):
                    return 0.0
    except Exception as error:
        refusal = send(writer, RPCError(message=str(error)), P2P.ERROR_MARKER)
        return _REFUSED_SECONDS if await _taken(refusal, writer, _READING_SECONDS) else 0.0
    return _READING_SECONDS


async def _part(heard: Heard, writer: asyncio.StreamWriter) -> None:
    await _end(writer)
    await heard.closed()


async def _taken(saying: Awaitable[None], writer: asyncio.StreamWriter, seconds: float) -> bool:
    """Whether the caller takes it in time. What it does not take would be kept in memory, so its stream is cut."""
    try:
        async with asyncio.timeout(seconds):
            await saying
    except (OSError, TimeoutError):
        writer.transport.abort()
        return False
    return True


class Heard:
    """What a caller says. Nothing is read before it is wanted: it may be a stranger."""

    def __init__(self, reader: asyncio.StreamReader, kind: type[Any]) -> None:
        self._reader = reader
        self._kinds = {P2P.MESSAGE_MARKER: kind}
        self._messages = asyncio.Queue[Any](_AHEAD)
        self._wanted = asyncio.Event()

    async def messages(self) -> AsyncIterator[Any]:
        self._wanted.set()
        while (message := await self._messages.get()) is not None:
            yield message

    async def read(self) -> None:
        """Returns when the caller has gone, or says what is no message."""
        await self._wanted.wait()
        with suppress(EOFError, OSError, ValueError, DecodeError):
            while True:
                await self._messages.put(await received(self._reader, self._kinds))

    async def closed(self) -> None:
        """Returns when the caller has closed; what it still says is thrown away."""
        while await self._reader.read(LARGEST):
            pass
