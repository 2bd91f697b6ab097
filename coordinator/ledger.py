"""Who may train on which positions, and what became of them. Pure.

Every position is in exactly one of three places: free, left in one open lease, or counted in one round. The endless
stream beyond the highest lease is free too, so `free` always ends at END.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from immutables import Map

from coordinator.tempo import Tempo
from swarm.ranges import LAST, Range, among, joined, merge, subtract, total, without
from swarm.texts import whole_number

END = LAST
CLOSED_KEPT = 32_768  # a late report may still name a closed lease that is among so many last ones

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
class Recalled:
    """A lease that its member remembers, and what of it the member still holds or was counted for."""

    lease: str
    range: Range
    held: tuple[Range, ...]


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
    """The run went back to `round`; leases numbered below `first_lease` belong to what was undone, but those of the
    `spared` members, who held the state of that round all the time.
    """

    round: int
    first_lease: int
    spared: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ledger:
    """All positions of a run. Methods return a changed copy, in time that hardly grows with members and leases.

    `leases` are the open ones by id, `held` their ids by member, `closed` the others by number. `counted` holds
    the entries of rounds ≥ `since`, by round and first position: the run may go back to one of those rounds.
    """

    epoch_samples: int
    free: tuple[Range, ...] = (Range(0, END),)
    leases: Map[str, Lease] = Map()
    held: Map[str, tuple[str, ...]] = Map()
    closed: Map[int, Lease] = Map()
    counted: Map[int, Map[int, Entry]] = Map()
    returns: tuple[Return, ...] = ()
    next_number: int = 1
    since: int = 0

    def restored(self, leases: Sequence[Lease], entries: Iterable[Entry], returns: Iterable[Return]) -> Ledger:
        """With these leases, open and closed ones, the entries counted in rounds ≥ `since`, and returns."""
        numbers = (lease.number for lease in leases)
        ledger = replace(self, returns=tuple(returns), next_number=max(numbers, default=0) + 1)
        for lease in leases:
            ledger = ledger._lend(lease) if lease.left else ledger._close(lease)
        return ledger._note(entries)

    @property
    def counted_samples(self) -> int:
        """How many positions are counted, in all rounds."""
        return END - total(self.free) - sum(total(lease.left) for lease in self.leases.values())

    def limit(self, target_batch_size: int, own: float, tempo: Tempo) -> int:
        """The largest lease that leaves the other members enough of the epoch, in proportion to speed.

        `tempo` is that of all live members, one with the speed `own` (samples per second; 0 is unknown) among them.
        """
        start = self.free[0].start
        epoch = Range(start, self._epoch_end(start))
        lendable = max(tempo.members * target_batch_size, total(among(self.free, epoch)) // 2)
        return max(1, round(lendable * tempo.share(own)))

    def grant(self, member: str, samples: int, deadline: float, tail: str) -> tuple[Ledger, Lease]:
        """Lend the lowest free positions: contiguous, inside one epoch, at most `samples` of them."""
        start, stop = self.free[0]
        lent = Range(start, min(stop, self._epoch_end(start), start + samples))
        lease = Lease(f"{self.next_number}-{tail}", self.next_number, member, lent, (lent,), deadline)
        rest, too_old = subtract(self.free[:1], lent), self.next_number - CLOSED_KEPT
        ledger = replace(
            self,
            free=(*rest, *self.free[1:]),
            closed=self.closed.delete(too_old) if too_old in self.closed else self.closed,
            next_number=self.next_number + 1,
        )
        return ledger._lend(lease), lease

    def recall(
        self, member: str, found: Recalled, round_: int, deadline: float
    ) -> tuple[Ledger, Lease, list[Entry]] | None:
        """Lend again, as far as it is free, what was lent before a copy was restored that does not know of it; the rest
        is listed as expired. None when nothing of it is free, or no coordinator can have lent it. Ids are looked at by
        who calls.
        """
        number, (start, stop) = number_of(found.lease), found.range
        in_one_epoch = 0 <= start < stop <= self._epoch_end(start)
        if not in_one_epoch or number < 1 or abs(number - self.next_number) > CLOSED_KEPT:
            return None
        held = [part for piece in merge(found.held) for part in among(self.free, piece.overlap(found.range))]
        if not held:
            return None
        lease = Lease(found.lease, number, member, found.range, tuple(held), deadline)
        rest = without([found.range], held)
        entries = [Entry(part, "expired", round_, member, lease.id, _UNKNOWN) for part in rest]
        taken = replace(self, free=tuple(without(self.free, held)), next_number=max(self.next_number, number + 1))
        return taken._lend(lease), lease, entries

    def extend(self, member: str, first_lease: int, deadline: float) -> Ledger:
        """Give the leases of `member` from number `first_lease` on until `deadline`."""
        leases = self.leases
        for lease in self.held_by(member):
            if lease.number >= first_lease:
                leases = leases.set(lease.id, replace(lease, deadline=deadline))
        return replace(self, leases=leases)

    def settle(self, member: str, round_: int, claim: Claim) -> tuple[Ledger, list[Entry]]:
        """Count what of `claim` can be counted in round `round_`; say of every other position why not."""
        lease = self.find(member, claim.lease)
        if lease is None:
            why = "no such lease of yours"
            return self, [Entry(claim.range, "rejected", round_, member, claim.lease, why)]
        inside = claim.range.overlap(lease.range)
        held, late = among(lease.left, inside), among(self.free, inside)
        rest = [] if held == [claim.range] else without([claim.range], [*held, *late])  # as it nearly always is
        verdicts: list[tuple[Range, Outcome, str]] = [
            *((part, "counted", "") for part in held),
            *((part, "counted", "late, but still free") for part in late),
            *((part, "rejected", why) for part, why in self._objections(lease, rest)),
        ]
        entries = [Entry(part, state, round_, member, lease.id, why) for part, state, why in sorted(verdicts)]
        return self._count(lease, held, late, [item for item in entries if item.state == "counted"]), entries

    def drop(self, member: str, round_: int, claim: Claim, why: str) -> tuple[Ledger, list[Entry]]:
        """Free what of `claim` its lease still holds; list what was ever in it as rejected for the member's reason."""
        lease = self.find(member, claim.lease)
        inside = claim.range.overlap(lease.range) if lease else Range(0, 0)
        if lease is None or not inside:
            return self, []
        entry = Entry(inside, "rejected", round_, member, lease.id, why)
        if lease.id not in self.leases:
            return self, [entry]
        held = among(lease.left, inside)
        freed = replace(self, free=tuple(joined(self.free, held)))
        return freed._shrink(lease, held), [entry]

    def expire(self, lease_id: str, round_: int, why: str, held: Iterable[Range] = ()) -> tuple[Ledger, list[Entry]]:
        """Free what an open lease still holds, but for what its member says is `held`; without that it is closed."""
        lease = self.leases[lease_id]
        gone = without(lease.left, held)
        entries = [Entry(part, "expired", round_, lease.member, lease.id, why) for part in gone]
        freed = replace(self, free=tuple(joined(self.free, gone)))
        return freed._shrink(lease, gone), entries

    def go_back(self, round_: int, spared: frozenset[str] = frozenset()) -> tuple[Ledger, list[Entry]]:
        """Free what rounds ≥ `round_` had counted; returns those entries as they were."""
        rounds = sorted(key for key in self.counted if key >= round_)
        back = Return(round_, self.next_number, spared)
        earlier = (item for item in self.returns if (item.round, item.first_lease) != (back.round, back.first_lease))
        undone = [entry for key in rounds for _, entry in sorted(self.counted[key].items())]
        ledger = replace(
            self,
            free=tuple(joined(self.free, (entry.range for entry in undone))),
            counted=_without_keys(self.counted, rounds),
            returns=(*earlier, back),
        )
        return ledger, undone

    def forget_before(self, round_: int) -> Ledger:
        """Keep no entries of rounds that the run can no longer go back to; their positions stay counted."""
        old = [key for key in self.counted if key < round_]
        return replace(self, counted=_without_keys(self.counted, old), since=max(self.since, round_))

    def find(self, member: str, lease_id: str) -> Lease | None:
        """The open or recently closed lease, when it is this member's."""
        lease = self.leases.get(lease_id) or self.closed.get(number_of(lease_id))
        return lease if lease is not None and (lease.id, lease.member) == (lease_id, member) else None

    def held_by(self, member: str) -> list[Lease]:
        """The member's open leases, the oldest first."""
        return [self.leases[lease] for lease in self.held.get(member, ())]

    def undone_by(self, lease: Lease, round_: int) -> Return | None:
        """The going back that makes work on `lease` in round `round_` void."""
        later = (back for back in self.returns if lease.number < back.first_lease and round_ >= back.round)
        void = (back for back in later if lease.member not in back.spared)
        return min(void, key=lambda back: back.round, default=None)

    def pending(self, member: str) -> int:
        """How many positions the member's open leases hold."""
        return sum(total(lease.left) for lease in self.held_by(member))

    def _epoch_end(self, position: int) -> int:
        return (position // self.epoch_samples + 1) * self.epoch_samples

    def _objections(self, lease: Lease, rest: list[Range]) -> list[tuple[Range, str]]:
        found = [(part, "outside the lease") for part in without(rest, [lease.range])]
        rest = among(rest, lease.range)
        for other in self.leases.values() if rest else ():
            taken = [part for item in rest for part in among(other.left, item)]
            found += [(part, f"leased again to {other.member}") for part in taken]
            rest = without(rest, taken)
        return found + [(part, "already counted") for part in rest]

    def _count(self, lease: Lease, held: list[Range], late: list[Range], entries: list[Entry]) -> Ledger:
        if not entries:
            return self
        taken = replace(self, free=tuple(without(self.free, late))) if late else self
        return taken._note(entries)._shrink(lease, held)

    def _note(self, entries: Iterable[Entry]) -> Ledger:
        counted = self.counted
        for entry in entries:
            counted = counted.set(entry.round, counted.get(entry.round, _NONE).set(entry.range.start, entry))
        return replace(self, counted=counted)

    def _lend(self, lease: Lease) -> Ledger:
        mine = (*self.held.get(lease.member, ()), lease.id)
        return replace(self, leases=self.leases.set(lease.id, lease), held=self.held.set(lease.member, mine))

    def _shrink(self, lease: Lease, gone: Iterable[Range]) -> Ledger:
        if lease.id not in self.leases:
            return self
        smaller = replace(lease, left=tuple(without(lease.left, gone)))
        if smaller.left:
            return replace(self, leases=self.leases.set(lease.id, smaller))
        others = tuple(key for key in self.held[lease.member] if key != lease.id)
        held = self.held.set(lease.member, others) if others else self.held.delete(lease.member)
        return replace(self, leases=self.leases.delete(lease.id), held=held)._close(smaller)

    def _close(self, lease: Lease) -> Ledger:
        """Remember it for late reports, if it is not too old for them."""
        if lease.number < self.next_number - CLOSED_KEPT:
            return self
        return replace(self, closed=self.closed.set(lease.number, lease))


_NONE: Map[int, Entry] = Map()
_UNKNOWN = "not in the copy that was restored, and not held any more"


def _without_keys(counted: Map[int, Map[int, Entry]], gone: Iterable[int]) -> Map[int, Map[int, Entry]]:
    for key in gone:
        counted = counted.delete(key)
    return counted


def number_of(lease_id: str) -> int:
    """The number that a lease's id begins with; -1 for what is no such id."""
    return whole_number(lease_id.partition("-")[0], -1)
