"""How a group's payloads travel: directly, or through a node with upload to spare. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

_WORTH = 0.8  # a way over a relay must take at most this part of the direct way's time


def relay_of(
    peers: Sequence[bytes], rates: Mapping[bytes, float], reachable: Collection[bytes], outside: Collection[bytes] = ()
) -> bytes:
    """The node through which all payloads should travel, or nothing for the direct way.

    `rates` are the bytes per second that nodes were seen to send; a payload's size is the same for all and does not
    matter. A relay is one of the `reachable` peers, or a node `outside` of the group, which only carries: such a one is
    tried once before it was measured. Directly each peer sends its own payload to all others; over a relay once, and
    the relay sends each all others'.
    """
    if len(peers) < 3 or any(rates.get(peer, 0.0) <= 0 for peer in peers):
        return b""
    direct = max((len(peers) - 1) / rates[peer] for peer in peers)
    ways = {relay: _seconds(relay, peers, rates) for relay in (*reachable, *outside)}
    best = min(ways, key=lambda relay: (ways[relay], relay), default=b"")
    return best if best and ways[best] <= _WORTH * direct else b""


def _seconds(relay: bytes, peers: Sequence[bytes], rates: Mapping[bytes, float]) -> float:
    """For payloads of one byte: all bring theirs, then the relay sends everyone else the others'."""
    served = sum(peer != relay for peer in peers)
    brought = max(1 / rates[peer] for peer in peers if peer != relay)
    return brought + served * (len(peers) - 1) / rates.get(relay, math.inf)
