"""What a peer of the exchange holds: its processes, its share of the DHT, the leader's dictionaries."""

from __future__ import annotations

import asyncio
import gc

import psutil
from hivemind import DHT
from hivemind.dht import DHTNode

from peer.exchange.swarm import SwarmExchange
from tests.growth import of_process

_SECONDS = 10.0


def sampled(exchange: SwarmExchange) -> dict[str, float]:
    """By the names of `tests.growth`."""
    own = psutil.Process()
    found = of_process("peer", own)
    for child in own.children(recursive=True):
        found |= of_process("p2pd" if "p2pd" in child.name() else "DHT", child)
    gc.collect()
    return found | {"objects": len(gc.get_objects())} | exchange._loop.run(_of_network(exchange), _SECONDS)


async def _of_network(exchange: SwarmExchange) -> dict[str, float]:
    """In the event loop: hivemind's pipe to its DHT process is for one thread only."""
    leader = exchange._leader
    found = {
        "tasks": len(asyncio.all_tasks()),
        "outcomes": len(leader.outcomes),
        "all-reduces": len(exchange._servicer.runs),
        "members": len(exchange._node._members),
        "lost": len(exchange._lost),
    }
    for name in ("progress", "rates", "guests", "hosted", "attempts"):
        found[f"leader's {name}"] = len(getattr(leader, f"_{name}"))
    return found | await exchange._node.dht.run_coroutine(_of_dht, return_future=True)


async def _of_dht(_dht: DHT, node: DHTNode) -> dict[str, float]:
    """Runs in the DHT's process."""
    storages = (node.protocol.storage, node.protocol.cache)
    values = [item.value for storage in storages for item in storage.data.values()]
    return {
        "DHT records": sum(len(getattr(value, "data", [value])) for value in values),
        "DHT expirations": sum(len(storage.expiration_heap) for storage in storages),
        "DHT tasks": len(asyncio.all_tasks()),
    }
