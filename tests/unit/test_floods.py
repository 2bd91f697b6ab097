"""What others send takes no more memory than it is worth."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.message import DecodeError

from peer.exchange import groups, guard
from peer.exchange.groups import Groups
from swarm.proto import exchange_pb2 as pb

guard.prepare()

from hivemind.proto.p2pd_pb2 import RPCError  # noqa: E402

from peer.exchange import streams  # noqa: E402

KINDS = {b"\0": pb.ChunkPart, b"\1": RPCError}


def received(data: bytes) -> Any:
    async def read() -> Any:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        return await asyncio.wait_for(streams.received(reader, KINDS), 1.0)

    return asyncio.run(read())


def marked(mark: bytes, size: int, data: bytes) -> bytes:
    return mark + size.to_bytes(8, "big") + data


def test_messages_and_errors_are_told_apart() -> None:
    said, failed = pb.ChunkPart(data=b"hello"), RPCError(message="why")
    assert received(marked(b"\0", said.ByteSize(), said.SerializeToString())) == said
    assert received(marked(b"\1", failed.ByteSize(), failed.SerializeToString())) == failed
    assert received(b"\2") is None
    with pytest.raises(ValueError, match="no message"):
        received(marked(b"\3", 5, b"hello"))
    with pytest.raises(DecodeError):
        received(marked(b"\0", 5, b"hello"))


def test_a_message_that_says_it_is_huge_is_refused_before_it_comes() -> None:
    """hivemind waits for it, whoever sends it, and keeps what has come."""
    with pytest.raises(ValueError, match="are the most"):
        received(marked(b"\0", 1 << 40, b"x"))


def test_asking_for_groups_that_there_are_not_takes_no_groups_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_JOIN_SECONDS", 0.2)

    async def flood() -> tuple[str | None, str | None, int]:
        known = Groups[str]()
        known.join(b"own", "work")
        early = asyncio.ensure_future(known.get(b"next"))
        asking = [asyncio.ensure_future(known.get(bytes([number]))) for number in range(50)]
        await asyncio.sleep(0.01)
        known.join(b"next", "more")
        asking += [asyncio.ensure_future(known.get(number.to_bytes(2))) for number in range(500)]
        assert set(await asyncio.gather(*asking)) == {None}
        return await known.get(b"own"), await early, len(known)

    own, early, kept = asyncio.run(flood())
    assert (own, early) == ("work", "more")
    assert kept <= 2 + 64
