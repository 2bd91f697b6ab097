"""What one member can make the leader of a round do."""

from __future__ import annotations

import asyncio

from peer.exchange.parts import VALUES
from swarm.proto import exchange_pb2 as pb
from tests.strangers import Stranger, Table, Wire

import torch  # isort: skip


def test_a_member_is_heard_once_and_with_one_complaint_about_each_other() -> None:
    """A thousand complaints were a thousand times all inputs of a part, for each commit that it sent."""
    wire = Wire()
    strangers = [Stranger(f"peer-{number}", wire, "none") for number in range(3)]
    for one in strangers:
        one.tensors = {"a": torch.ones(VALUES)}
    table, asked = Table(strangers), list[tuple[bytes, int]]()

    async def recheck(_group: bytes, reducer: bytes, part: int) -> str | None:
        asked.append((reducer, part))
        await asyncio.sleep(0.1)
        return ""

    async def story() -> None:
        court, nodes = table.court, [one.node.id for one in strangers]
        court.recheck = recheck
        for node in nodes:
            court.progress(node, pb.Progress(samples=8, done=True))
        group, *_ = await asyncio.gather(*(court.ready(one.node.id, one.ready()) for one in strangers))
        assert group.verdict == pb.GO
        accused = [nodes[2], b"nobody"]
        complaints = [pb.Complaint(peer_id=p, fault=pb.WRONG_MEAN, part=n) for n in range(500) for p in accused]
        said = pb.CommitRequest(group_id=group.group_id, why="it lies", complaints=complaints)
        others = [
            court.commit(node, pb.CommitRequest(group_id=group.group_id, why="-")) for node in (nodes[0], nodes[2])
        ]
        await asyncio.wait_for(asyncio.gather(*(court.commit(nodes[1], said) for _ in range(5)), *others), 20)

    asyncio.run(story())
    assert asked == [(strangers[2].node.id, 499)]
