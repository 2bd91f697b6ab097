"""How a stream between two nodes ends, and how large its messages may be; in place of hivemind's own.

Who answers must not close first. p2pd passes on what comes from libp2p and what comes from us in two threads: once we
close, one of them closes the libp2p stream both ways, the other can read it no longer and *resets* it, and on a reset
the caller's p2pd throws away what it has not passed on yet (go-libp2p-daemon v0.5, stream.go, `doStreamPipe`). The last
answers are missing then, and nobody is told: under load this happened to one stream in a thousand, and it happens to
each whose caller reads slowly. So who has answered says that this was all, and closes once the caller has.

Imported by `guard.prepare` only, which must come before hivemind.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from typing import Any

from hivemind.p2p import P2P
from hivemind.proto.p2pd_pb2 import RPCError

LARGEST = 8 << 20  # bytes of a message; ours have up to 4 MiB
_SIZE = 8  # bytes, in which a message says its own
_THAT_WAS_ALL = b"\2"  # stands where a message has hivemind's mark, 0 or 1
_READING_SECONDS = 600.0  # until a caller has taken a message of 4 MiB, on the slowest lines
_CLOSING_SECONDS = 60.0  # until it has read what is still on its way after the last
_OPEN = 64  # streams of one caller at a time: each may keep a message in our memory

Handler = Callable[[Any, asyncio.StreamReader, Any], Awaitable[None]]


async def received(kind: type[Any], reader: asyncio.StreamReader) -> tuple[Any, Any]:
    """A message, or an error. Hivemind's own waits for as much as the sender says that there is; that comes before
    anybody looks at who it is. (Calls without streams are bounded by p2pd.) Raises ValueError, and IncompleteReadError
    where the stream has ended.
    """
    mark = await reader.readexactly(1)
    if mark == _THAT_WAS_ALL:
        raise asyncio.IncompleteReadError(b"", None)
    if mark not in (P2P.MESSAGE_MARKER, P2P.ERROR_MARKER):
        raise ValueError("neither a message nor an error")
    data = await _sized(reader)
    return (kind.FromString(data), None) if mark == P2P.MESSAGE_MARKER else (None, RPCError.FromString(data))


async def _sized(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await reader.readexactly(_SIZE), "big")
    if size > LARGEST:
        raise ValueError(f"a message of {size} bytes; {LARGEST} are the most")
    return await reader.readexactly(size)


def lasting(add: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """How handlers of streams are added: so that a caller has time to close, and has no more of them than `_OPEN`."""
    open_ = Counter[Any]()

    async def added(p2p: P2P, name: str, handler: Handler, balanced: bool = False) -> None:
        await add(p2p, name, _counted(open_, _until_closed(handler)), balanced)

    return added


def _counted(open_: Counter[Any], handler: Handler) -> Handler:
    async def handled(info: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = info.peer_id
        open_[caller] += 1
        try:
            await (handler if open_[caller] <= _OPEN else _refused)(info, reader, writer)
        finally:
            open_[caller] -= 1
            if not open_[caller]:
                del open_[caller]

    return handled


async def _refused(_info: Any, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with closing(writer), suppress(OSError):
        await P2P.send_protobuf(RPCError(message=f"refused: it has {_OPEN} streams open already"), writer)


def _until_closed(handler: Handler) -> Handler:
    async def handled(info: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = _Kept(writer)
        with closing(writer):
            await handler(info, reader, kept)
            if kept.refused:  # strangers could fill all our sockets
                return
            try:
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await _parted(reader, writer)
            except (OSError, TimeoutError):
                writer.transport.abort()  # what it does not read would be kept for it

    return handled


async def _parted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_THAT_WAS_ALL)
    await writer.drain()
    await asyncio.sleep(0)  # hivemind has just cancelled its own reading, which ends only now
    while await reader.read(LARGEST):
        pass


class _Kept:
    """What a handler writes to, and cannot close."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.refused = False

    def write(self, data: bytes) -> None:
        self.refused |= data is P2P.ERROR_MARKER
        self._writer.write(data)

    async def drain(self) -> None:
        """Raises TimeoutError: hivemind ends the handler then."""
        async with asyncio.timeout(_READING_SECONDS):
            await self._writer.drain()

    def close(self) -> None:
        """Not yet."""
