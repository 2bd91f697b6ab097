"""How a group's payloads travel: directly, or through a member with upload to spare. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_WORTH = 0.8  # a way over a relay must take at most this part of the direct way's time


def relay_of(peers: Sequence[bytes], rates: Mapping[bytes, float], reachable: Sequence[bytes]) -> bytes:
    """The member through which all payloads should travel, or nothing for the direct way.

    `rates` are the bytes per second that peers were seen to send; a payload's size is the same for all and does not
    matter. Directly each sends its own to all others; over a relay once, and the relay sends each all others'.
    """
    if len(peers) < 3 or any(rates.get(peer, 0.0) <= 0 for peer in peers):
        return b""
    others = len(peers) - 1
    direct = max(others / rates[peer] for peer in peers)
    ways = {relay: _seconds(relay, peers, rates) for relay in reachable}
    best = min(ways, key=lambda relay: (ways[relay], relay), default=b"")
    return best if best and ways[best] <= _WORTH * direct else b""


def _seconds(relay: bytes, peers: Sequence[bytes], rates: Mapping[bytes, float]) -> float:
    """For payloads of one byte: all bring theirs, then the relay sends n - 1 of them to n - 1 peers."""
    others = len(peers) - 1
    return max(1 / rates[peer] for peer in peers if peer != relay) + others * others / rates[relay]
