"""What others send takes no more memory than it is worth."""

from __future__ import annotations

import asyncio

import pytest

from peer.exchange import groups, guard
from peer.exchange.groups import Groups

guard.prepare()

from hivemind.p2p import P2P  # noqa: E402


def received(data: bytes) -> bytes:
    async def read() -> bytes:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        return bytes(await asyncio.wait_for(P2P.receive_raw_data(reader), 1.0))

    return asyncio.run(read())


def test_a_message_that_says_it_is_huge_is_refused_before_it_comes() -> None:
    """hivemind waits for it, whoever sends it, and keeps what has come."""
    assert received((5).to_bytes(8, "big") + b"hello") == b"hello"
    with pytest.raises(ValueError, match="are the most"):
        received((1 << 40).to_bytes(8, "big") + b"x")


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
