"""A member that says that it is in a later round, to everybody and all the time, and offers a state of it."""

from __future__ import annotations

import asyncio
from typing import Any

from peer.exchange.node import NETWORK_ERRORS, key_of
from swarm.proto import exchange_pb2 as pb
from tests.simulator.network import Dht, Host, Stub
from tests.simulator.peers import Theta
from tests.simulator.world import World

ID, ROUND = b"liar.1", 1_000_000
_SECONDS = 0.2


class _Lies:
    """What it answers: to leave it nobody must need it for anything."""

    async def rpc_state(self, _at_least: int, _context: Any) -> Theta:
        return Theta(ROUND, "lie", ("liar",))

    async def rpc_progress(self, _request: pb.Progress, _context: Any) -> pb.SwarmView:
        return pb.SwarmView(phase=pb.BEHIND, round=ROUND)

    async def rpc_outcome(self, _request: pb.OutcomeQuery, _context: Any) -> pb.OutcomeReply:
        return pb.OutcomeReply(round=ROUND)


class WithLiar(World):
    """It comes as soon as the others are there, and is the youngest, so it does not lead."""

    async def _befall(self, fault: Any) -> None:
        if fault.kind != "lie":
            return await super()._befall(fault)
        await asyncio.sleep(fault.at)
        self.network.hosts[ID] = Host(ID, _Lies())
        dht, began = Dht(self.network, ID), self.now
        while True:
            value = [began, False, True, "liar", 0]
            await dht.store(key_of("run", "members"), value, self.now + 10.0, ID, True, exclude_self=False)
            for peer in list(self.peers.values()):
                await self._tell(peer.id)
            await asyncio.sleep(_SECONDS)

    async def _tell(self, peer: bytes) -> None:
        try:
            await Stub(self.network, ID, peer).rpc_progress(pb.Progress(round=ROUND), timeout=1.0)
        except NETWORK_ERRORS:
            return
