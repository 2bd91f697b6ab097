"""Local mode's way between members in one process: everything is real but the network."""

from __future__ import annotations

import asyncio
import hashlib
import secrets

import pytest
import torch

from peer.exchange.average import Average
from peer.exchange.base import Update
from peer.exchange.carrier import Carrier
from peer.exchange.gather import Gather
from peer.exchange.ways import alike
from swarm.proto import exchange_pb2 as pb
from swarm.sections import Local
from tests.strangers import DIGEST, FakeNode, Wire

SENT = {"honest": torch.randn, "NaN": lambda size: torch.full((size,), torch.nan), "zeros": torch.zeros}


async def gathered(sends: list[str], size: int, patience: float = 5.0) -> list[Average]:
    """What everybody has of one exchange in which the members send this; who sends nothing is gone."""
    wire, members, ways = Wire(), [], []
    for number, kind in enumerate(sends):
        node, carrier = FakeNode(f"m{number}".encode(), wire), Carrier()
        way = Gather(node, carrier, Local(codec="sparse"), patience, alike)  # type: ignore[arg-type]
        update = Update(0, DIGEST, 8, {"w": SENT[kind or "honest"](size)})
        parcel = way.parcel(update)
        if kind:
            wire.servers[node.id] = carrier
            ways.append((way, update, parcel))
        payload = hashlib.sha256(parcel).hexdigest()
        members.append(pb.GroupMember(peer_id=node.id, samples=8, payload=payload, member=f"peer{number}"))
    group = pb.Group(group_id=secrets.token_bytes(16), members=members, leader=b"m0")
    return list(await asyncio.gather(*(way.average(group, update, parcel) for way, update, parcel in ways)))


@pytest.mark.parametrize("bad", ["NaN", "zeros"])
@pytest.mark.parametrize("size", [40_000, 1_500_000])  # in one part, in several
def test_two_members_with_the_same_bytes_set_nobody_against_another(bad: str, size: int) -> None:
    averages = asyncio.run(gathered(["honest", bad, bad, "honest", "honest"], size))
    assert [(one.broken, one.complaints) for one in averages] == [("", ())] * 5
    assert len({one.digest for one in averages}) == 1
    assert sorted(averages[0].refused) == [1, 2]


def test_an_exchange_ends_soon_when_a_sender_is_gone_and_nobody_is_accused() -> None:
    averages = asyncio.run(asyncio.wait_for(gathered(["honest", "", "honest"], 1000, patience=60.0), 10.0))
    assert [(one.broken, one.complaints) for one in averages] == [("peer1 is gone", ())] * 2


def test_also_an_exchange_that_failed_says_how_fast_others_sent() -> None:
    """Else the leader would choose the same relay, which nobody measured yet, again and again."""
    averages = asyncio.run(gathered(["honest", "", "honest"], 4_000_000))
    assert [sorted(one.rates) for one in averages] == [[b"m2"], [b"m0"]]
