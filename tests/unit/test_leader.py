"""The leader's side of a round, without a network."""

from __future__ import annotations

import asyncio

from peer.exchange.closing import SampleTarget
from peer.exchange.leader import Leader, Rules
from peer.exchange.rounds import Member
from swarm.proto import exchange_pb2 as pb

OWN, OTHER = b"own", b"other"


def test_who_forms_a_group_and_hears_of_a_later_round_is_told_at_once() -> None:
    async def play() -> pb.Group:
        members = [Member(1.0, OWN), Member(2.0, OTHER)]
        leader = Leader(OWN, Rules(SampleTarget(8), grace=60.0, patience=60.0), lambda: members)
        forming = asyncio.ensure_future(leader.ready(OWN, pb.ReadyRequest(round=0, samples=8, digest="same")))
        await asyncio.sleep(0.1)
        assert not forming.done()
        assert leader.progress(OTHER, pb.Progress(round=3)).phase == pb.AHEAD
        return await asyncio.wait_for(forming, 1.0)

    group = asyncio.run(play())
    assert group.verdict == pb.RETRY
    assert group.why == "others are in round 3"
