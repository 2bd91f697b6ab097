"""Who may train on which positions, and what became of them. Pure.

Every position is in exactly one of three places: free, left in one open lease, or counted in one round. The endless
stream beyond the highest lease is free too, so `free` always ends at END.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

from swarm.ranges import Range, merge, subtract, total

END = 1 << 62  # past every position a run can reach; fits a signed 64-bit column
CLOSED_KEPT = 4096  # leases that a late report may still name

Outcome = Literal["counted", "expired", "rejected"]


@dataclass(frozen=True)
class Lease:
    """Positions lent to one member; `left` are those not yet counted, dropped or expired."""

    id: str
    number: int
    member: str
    range: Range
    left: tuple[Range, ...]
    deadline: float  # Unix seconds


@dataclass(frozen=True)
class Claim:
    """What a member says it did with a part of one of its leases."""

    lease: str
    range: Range


@dataclass(frozen=True)
class Entry:
    """One line of the ledger: what became of a range of positions, and why."""

    range: Range
    state: Outcome
    round: int
    member: str
    lease: str
    why: str


@dataclass(frozen=True)
class Return:
    """The run went back to `round`; leases numbered below `first_lease` belong to what was undone."""

    round: int
    first_lease: int


@dataclass(frozen=True)
class Ledger:
    """All positions of a run. Methods return a changed copy.

    `counted` holds entries by round for as long as the run may go back to before that round.
    """

    epoch_samples: int
    free: tuple[Range, ...] = (Range(0, END),)
    leases: Mapping[str, Lease] = field(default_factory=dict)
    closed: Mapping[str, Lease] = field(default_factory=dict)
    counted: Mapping[int, tuple[Entry, ...]] = field(default_factory=dict)
    returns: tuple[Return, ...] = ()
    next_number: int = 1

    @property
    def counted_samples(self) -> int:
        """How many positions are counted, in all rounds."""
        return END - total(self.free) - sum(total(lease.left) for lease in self.leases.values())

    def limit(self, target_batch_size: int, own: float, speeds: Sequence[float]) -> int:
        """The largest lease that leaves the other members enough of the epoch, in proportion to speed.

        `speeds` are those of all live members, `own` among them, in samples per second; 0 is unknown.
        """
        start = self.free[0].start
        epoch = Range(start, self._epoch_end(start))
        lendable = max(len(speeds) * target_batch_size, total(_common(self.free, epoch)) // 2)
        return max(1, round(lendable * share(own, speeds)))

    def grant(self, member: str, samples: int, deadline: float, tail: str) -> tuple[Ledger, Lease]:
        """Lend the lowest free positions: contiguous, inside one epoch, at most `samples` of them."""
        start, stop = self.free[0]
        lent = Range(start, min(stop, self._epoch_end(start), start + samples))
        lease = Lease(f"{self.next_number}-{tail}", self.next_number, member, lent, (lent,), deadline)
        ledger = replace(
            self,
            free=tuple(subtract(self.free, lent)),
            leases={**self.leases, lease.id: lease},
            next_number=self.next_number + 1,
        )
        return ledger, lease

    def extend(self, member: str, first_lease: int, deadline: float) -> Ledger:
        """Give the leases of `member` from number `first_lease` on until `deadline`."""
        mine = {
            key: replace(lease, deadline=deadline)
            for key, lease in self.leases.items()
            if lease.member == member and lease.number >= first_lease
        }
        return replace(self, leases={**self.leases, **mine})

    def settle(self, member: str, round_: int, claim: Claim) -> tuple[Ledger, list[Entry]]:
        """Count what of `claim` can be counted in round `round_`; say of every other position why not."""
        lease = self.find(member, claim.lease)
        if lease is None:
            why = "no such lease of yours"
            return self, [Entry(claim.range, "rejected", round_, member, claim.lease, why)]
        inside = claim.range.overlap(lease.range)
        held, late = _common(lease.left, inside), _common(self.free, inside)
        rest = _without([claim.range], [*held, *late])
        verdicts: list[tuple[Range, Outcome, str]] = [
            *((part, "counted", "") for part in held),
            *((part, "counted", "late, but still free") for part in late),
            *((part, "rejected", why) for part, why in self._objections(lease, rest)),
        ]
        entries = [Entry(part, state, round_, member, lease.id, why) for part, state, why in sorted(verdicts)]
        return self._count(lease, held, late, [item for item in entries if item.state == "counted"]), entries

    def drop(self, member: str, round_: int, claim: Claim, why: str) -> tuple[Ledger, list[Entry]]:
        """Free what of `claim` its lease still holds; list it as rejected for the member's own reason."""
        entry = Entry(claim.range, "rejected", round_, member, claim.lease, why)
        lease = self.leases.get(claim.lease)
        if lease is None or lease.member != member:
            return self, [entry]
        held = _common(lease.left, claim.range)
        freed = replace(self, free=tuple(merge([*self.free, *held])))
        return freed._shrink(lease, held), [entry]

    def expire(self, lease_id: str, round_: int, why: str) -> tuple[Ledger, list[Entry]]:
        """Close an open lease: what it still holds becomes free."""
        lease = self.leases[lease_id]
        entries = [Entry(part, "expired", round_, lease.member, lease.id, why) for part in lease.left]
        freed = replace(self, free=tuple(merge([*self.free, *lease.left])))
        return freed._shrink(lease, lease.left), entries

    def go_back(self, round_: int) -> tuple[Ledger, list[Entry]]:
        """Free what rounds ≥ `round_` had counted; returns those entries as they were."""
        undone = [entry for key, group in self.counted.items() if key >= round_ for entry in group]
        ledger = replace(
            self,
            free=tuple(merge([*self.free, *(entry.range for entry in undone)])),
            counted={key: group for key, group in self.counted.items() if key < round_},
            returns=(*self.returns, Return(round_, self.next_number)),
        )
        return ledger, undone

    def forget_before(self, round_: int) -> Ledger:
        """Keep no entries of rounds that the run can no longer go back to; their positions stay counted."""
        return replace(self, counted={key: group for key, group in self.counted.items() if key >= round_})

    def find(self, member: str, lease_id: str) -> Lease | None:
        """The open or recently closed lease, when it is this member's."""
        lease = self.leases.get(lease_id) or self.closed.get(lease_id)
        return lease if lease is not None and lease.member == member else None

    def undone_by(self, lease: Lease, round_: int) -> Return | None:
        """The going back that makes work on `lease` in round `round_` void."""
        void = (back for back in self.returns if lease.number < back.first_lease and round_ >= back.round)
        return min(void, key=lambda back: back.round, default=None)

    def pending(self, member: str) -> int:
        """How many positions the member's open leases hold."""
        return sum(total(lease.left) for lease in self.leases.values() if lease.member == member)

    def _epoch_end(self, position: int) -> int:
        return (position // self.epoch_samples + 1) * self.epoch_samples

    def _objections(self, lease: Lease, rest: list[Range]) -> list[tuple[Range, str]]:
        found = [(part, "outside the lease") for part in _without(rest, [lease.range])]
        rest = _common(rest, lease.range)
        for other in self.leases.values():
            for taken in other.left:
                found += [(part, f"leased again to {other.member}") for part in _common(rest, taken)]
            rest = _without(rest, other.left)
        return found + [(part, "already counted") for part in rest]

    def _count(self, lease: Lease, held: list[Range], late: list[Range], entries: list[Entry]) -> Ledger:
        if not entries:
            return self
        round_ = entries[0].round
        group = (*self.counted.get(round_, ()), *entries)
        taken = replace(self, free=tuple(_without(self.free, late)), counted={**self.counted, round_: group})
        return taken._shrink(lease, held)

    def _shrink(self, lease: Lease, gone: Iterable[Range]) -> Ledger:
        if lease.id not in self.leases:
            return self
        smaller = replace(lease, left=tuple(_without(lease.left, gone)))
        others = {key: value for key, value in self.leases.items() if key != lease.id}
        if smaller.left:
            return replace(self, leases={**others, lease.id: smaller})
        closed = {**self.closed, lease.id: smaller}
        kept = dict(islice(closed.items(), max(0, len(closed) - CLOSED_KEPT), None))
        return replace(self, leases=others, closed=kept)


def share(own: float, speeds: Sequence[float]) -> float:
    """The part of the work that is due to a member of speed `own`; one whose speed is unknown gets an equal part."""
    known = [speed for speed in speeds if 0 < speed < math.inf]
    if own not in known:
        return 1 / len(speeds)
    mean = sum(known) / len(known)
    return own / (mean * len(speeds))


def _common(ranges: Iterable[Range], window: Range) -> list[Range]:
    return [part for item in ranges if (part := item.overlap(window))]


def _without(ranges: Iterable[Range], gone: Iterable[Range]) -> list[Range]:
    left = list(ranges)
    for item in gone:
        left = subtract(left, item)
    return left
