"""Whether a ledger adds up: its entries, read in their order, must count every position once. Pure.

Nothing of the coordinator is used but what it wrote down. A position of the run's stream is counted, lent, or visibly
free again: an entry says that it expired, was rejected, or was undone when the run went back (expired as well).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from swarm.errors import CorruptError
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Layout, Range, RangeSet, locate, merge, total


@dataclass(frozen=True)
class Epoch:
    """One pass over all samples: how many positions are counted, lent, free, and (an error) counted twice.

    `again` counts the positions that were lent in vain: once for every time that they expired, were rejected or undone.
    """

    number: int
    counted: int
    leased: int
    free: int
    twice: int
    again: int

    @property
    def finished(self) -> bool:
        return not (self.leased or self.free)


@dataclass(frozen=True)
class Replay:
    """What a ledger says. `members` holds samples by state for each member id; `faults` are sentences."""

    epochs: tuple[Epoch, ...]
    members: Mapping[str, Mapping[str, int]]
    counted: tuple[Range, ...]
    faults: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The result in one line."""
        if self.faults:
            return f"The ledger does not add up: {self.faults[0]}"
        done = [epoch for epoch in self.epochs if epoch.finished]
        open_ = ", ".join(str(epoch.number) for epoch in self.epochs if not epoch.finished)
        return (
            f"The ledger adds up: {total(self.counted)} samples counted, none twice; "
            f"every sample of {len(done)} finished epoch{'' if len(done) == 1 else 's'} exactly once"
            + (f"; still open: epoch {open_}." if open_ else ".")
        )

    def check(self) -> None:
        """Raises CorruptError that names the first range at which the ledger does not add up."""
        if self.faults:
            raise CorruptError(
                self.verdict,
                "Do not trust the credit of this run; send the output of this command with --json to the maintainer.",
            )


def replay(entries: Iterable[pb.LedgerEntry], layout: Layout) -> Replay:
    """Read the whole ledger of a run, open leases last, as `CoordinatorClient.ledger` gives it."""
    book = _Book(layout.samples_per_epoch)
    for entry in entries:
        book.read(entry)
    reached = sorted(book.reached)
    faults = [*book.faults, *book.gaps(), *(fault for number in reached if (fault := _mixed_up(layout, number)))]
    return Replay(
        epochs=tuple(map(book.epoch, reached)),
        members=book.members,
        counted=tuple(book.counted.ranges),
        faults=tuple(faults),
    )


def samples_of(layout: Layout, ranges: Iterable[Range]) -> dict[int, list[Range]]:
    """Which rows of which shards the positions of `ranges`, all of one epoch, mean: rows by shard, both ascending."""
    rows: dict[int, list[Range]] = {}
    for part in ranges:
        for position in range(*part):
            _, shard, row = locate(layout, position)
            rows.setdefault(shard, []).append(Range(row, row + 1))
    return {shard: merge(rows[shard]) for shard in sorted(rows)}


def span(part: Range) -> str:
    """Positions or rows for people: the first and the last one."""
    return str(part.start) if len(part) == 1 else f"{part.start}-{part.stop - 1}"


@dataclass
class _Book:
    """What the entries read so far say of every position; an epoch has `size` of them."""

    size: int
    counted: RangeSet = field(default_factory=RangeSet)
    twice: RangeSet = field(default_factory=RangeSet)
    leased: RangeSet = field(default_factory=RangeSet)
    seen: RangeSet = field(default_factory=RangeSet)
    again: list[Range] = field(default_factory=list)
    members: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    reached: set[int] = field(default_factory=set)
    frontier: int = 0

    def read(self, entry: pb.LedgerEntry) -> None:
        part = Range(entry.range.start, entry.range.stop)
        if not part.sound:
            self.faults.append(f"a range from {part.start} to {part.stop} is none.")
            return
        self.members.setdefault(entry.member_id, Counter())[entry.state] += len(part)
        self.seen.add(part)
        if entry.state != "rejected":  # a rejected claim may name positions that nobody was ever lent
            self._reach(entry, part)
        match entry.state:
            case "counted":
                self._count(entry, part)
            case "leased":
                self._lend(entry, part)
            case "expired":
                self._object(entry, self.counted.overlap(part), "expired after it had been counted")
                self.again.append(part)
            case "rejected":
                self.again.append(part)
            case _:
                self._object(entry, [part], f'is "{entry.state}", which is no state of a position')

    def _reach(self, entry: pb.LedgerEntry, part: Range) -> None:
        epoch = part.start // self.size
        self.reached.add(epoch)
        self.frontier = max(self.frontier, part.stop)
        if part.stop > (epoch + 1) * self.size:
            self._object(entry, [part], "reaches beyond its epoch, which no lease does")

    def _count(self, entry: pb.LedgerEntry, part: Range) -> None:
        known = self.counted.overlap(part)
        self._object(entry, known, "is counted a second time")
        for item in known:
            self.twice.add(item)
        self.counted.add(part)

    def _lend(self, entry: pb.LedgerEntry, part: Range) -> None:
        self._object(entry, self.counted.overlap(part), "is lent although it is counted")
        self._object(entry, self.leased.overlap(part), "is lent twice at once")
        self.leased.add(part)

    def _object(self, entry: pb.LedgerEntry, parts: list[Range], what: str) -> None:
        where = f"in round {entry.round}, lease {entry.lease_id} of {entry.member_id}"
        self.faults += [f"range {span(part)} {what}: {where}." for part in parts]

    def gaps(self) -> list[str]:
        """Leases take the lowest free positions first: below the highest of them, nothing may be unmentioned."""
        missing = self.seen.missing(Range(0, self.frontier))
        return [f"range {span(part)} is neither counted, nor lent, nor given back." for part in missing]

    def epoch(self, number: int) -> Epoch:
        window = Range(number * self.size, (number + 1) * self.size)
        counted, leased = total(self.counted.overlap(window)), total(self.leased.overlap(window))
        return Epoch(
            number=number,
            counted=counted,
            leased=leased,
            free=max(0, self.size - counted - leased),
            twice=total(self.twice.overlap(window)),
            again=total(part.overlap(window) for part in self.again),
        )


def _mixed_up(layout: Layout, epoch: int) -> str:
    """What is wrong with the samples that the epoch's positions mean; empty when each is there exactly once."""
    found = [bytearray(samples) for samples in layout.shard_samples]
    first = epoch * layout.samples_per_epoch
    for position in range(first, first + layout.samples_per_epoch):
        _, shard, row = locate(layout, position)
        if found[shard][row]:
            return f"position {position} means row {row} of shard {shard}, as an earlier one of epoch {epoch} does."
        found[shard][row] = 1
    return ""
