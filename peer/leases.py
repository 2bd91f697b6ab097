"""Leases as supervisor and worker speak of them. No torch here: the supervisor holds none."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.ranges import Range


@dataclass(frozen=True)
class LeasedRange:
    """Positions of one lease."""

    lease_id: str
    range: Range


@dataclass(frozen=True)
class Leased:
    """The coordinator's answer: a lease, or why there is none."""

    lease: LeasedRange | None
    why: str = ""
