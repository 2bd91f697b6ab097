"""Two real libp2p nodes on loopback, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from peer.exchange import guard

guard.prepare()

from hivemind.p2p import P2P  # noqa: E402

_LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]


@asynccontextmanager
async def two_nodes() -> AsyncIterator[tuple[P2P, P2P]]:
    """One that is asked, and one that knows it and asks; both end with the block."""
    asked = await P2P.create(host_maddrs=_LOOPBACK)
    known = [str(maddr) for maddr in await asked.get_visible_maddrs()]
    asks = await P2P.create(host_maddrs=_LOOPBACK, initial_peers=known)
    try:
        yield asked, asks
    finally:
        await asks.shutdown()
        await asked.shutdown()
