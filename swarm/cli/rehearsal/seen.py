"""What was seen of one drawn swarm."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Seen:
    """Sums over the rounds that were made. Seconds and bytes; "of peers" are summed over them as well."""

    rounds: int = 0
    seconds: float = 0.0
    samples: int = 0  # that the coordinator counted
    useful: int = 0  # samples of those who do not lie
    computing: float = 0.0  # of peers, for what counted
    present: float = 0.0  # of peers
    sent: float = 0.0  # of peers, updates
    received: float = 0.0  # of peers, updates
    states: float = 0.0  # of peers: bytes of states that they fetched, to come in again
    checkpoints: float = 0.0  # bytes that were brought to the coordinator
    seats: int = 0  # in groups
    exchanging: float = 0.0
    longest: float = 0.0  # exchange
    waiting: float = 0.0  # of those who were ready, for others
    broken: float = 0.0  # in exchanges that failed
    stalled: float = 0.0  # with too few peers to make a round
    late: int = 0  # of peers: they missed a round's end
    short: int = 0  # of peers: they did not do all their steps
    missed: int = 0  # of peers: the state that they fetched was an old one when it was here
    liars: float = 0.0  # their largest part in a group
    lease: float = 0.0  # median samples of the newest leases
    why: str = ""  # no round can be made
