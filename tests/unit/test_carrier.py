"""Who brings payloads: bytes of somebody else spoil nothing, and made-up groups take no real one's place at a relay."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hivemind.p2p import PeerID

from peer.exchange.carrier import Carrier, Visitors
from peer.exchange.groups import REMEMBERED, Groups
from peer.exchange.payloads import Payloads
from swarm.proto import exchange_pb2 as pb

DATA = b"u" * 100_000
SHA256 = hashlib.sha256(DATA).hexdigest()
ADA, EVE = (hashlib.sha256(name).digest() for name in (b"ada", b"eve"))


async def parts(data: bytes, group: bytes = b"g", offset: int = 0) -> AsyncIterator[pb.PayloadPart]:
    yield pb.PayloadPart(group_id=group, sha256=SHA256, manifest=[SHA256], size=len(DATA), offset=offset)
    yield pb.PayloadPart(data=data)


def caller(node: bytes) -> Any:
    return cast(Any, SimpleNamespace(remote_id=PeerID(node)))


async def brought(carrier: Carrier, node: bytes, data: bytes, group: bytes = b"g") -> int:
    return (await carrier.rpc_bring(parts(data, group), caller(node))).size


@pytest.mark.parametrize("known", [True, False])
def test_nobody_spoils_what_another_brings(known: bool) -> None:
    """One byte under the same hash made the whole too large, or another one: nobody got that payload."""

    async def play() -> int:
        carrier = Carrier(0 if known else 1 << 30)
        if known:
            carrier.join(b"g", Payloads([SHA256], len(DATA), senders={ADA: SHA256}))
        else:
            await brought(carrier, ADA, DATA[:10])
        assert await brought(carrier, EVE, b"!") == 0
        carrier_ = carrier._groups._works[b"g"]
        offset = carrier_.arrived(SHA256, ADA)
        return (await carrier.rpc_bring(parts(DATA[offset:], offset=offset), caller(ADA))).size

    assert asyncio.run(play()) == len(DATA)


def test_a_node_brings_one_payload_to_a_relay_and_no_more_come_than_there_are() -> None:
    async def play() -> None:
        payloads = Payloads(["a", "b"], 10)
        await payloads.add("a", b"1", ADA)
        assert payloads.expects("a", ADA)
        assert not payloads.expects("b", ADA)
        await payloads.add("b", b"1", EVE)
        assert not payloads.expects("a", b"third")

    asyncio.run(play())


def test_groups_that_are_made_up_push_no_group_off_a_relay() -> None:
    async def play() -> bool:
        carrier = Carrier(1 << 30)
        await brought(carrier, ADA, DATA[:10], b"real")
        for number in range(100):
            await brought(carrier, EVE, b"!", b"%d" % number)
        assert len(carrier._groups) == 2
        return carrier._groups.joined(b"real")

    assert asyncio.run(play())


def test_a_group_leaves_with_its_last_node_or_when_nobody_used_it_for_a_minute() -> None:
    now = [0.0]
    groups = Groups[Payloads]()
    visitors = Visitors(groups, lambda: now[0])
    assert visitors.admits(b"old", ADA)
    for number in range(REMEMBERED - 1):
        assert visitors.admits(b"%d" % number, b"node %d" % number)
    assert not visitors.admits(b"more", EVE)
    assert visitors.admits(b"new", ADA), "who comes for the next one lets go of the last"
    now[0] += 61
    assert visitors.admits(b"more", EVE)
