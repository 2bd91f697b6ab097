"""Who is asked for which chunk of a file next. Pure: time comes in, a decision and its reason come out.

What is promised: a chunk is under way at one donor at a time; whatever a donor does, a chunk that is not here stays
wanted; no donor has more than two requests at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

COORDINATOR = b""  # as a donor; it holds every chunk
OUTSTANDING = 2  # requests at one donor: the next is there when one ends
ENOUGH_PEERS = 4  # so many peers that hold a chunk need no help from the coordinator's line
_FIRST_REST = 1.0  # seconds, doubled with every failure in a row
_LONGEST_REST = 30.0
_BUSY_REST = 1.0


@dataclass(frozen=True)
class Record:
    """What came of asking a donor so far. Times in seconds of the caller's monotonic clock."""

    failures: int = 0  # in a row
    rests_until: float = 0.0
    lied: bool = False  # it sent bytes with another digest

    def failed(self, now: float) -> Record:
        """It did not answer, or not to the end: ask later, and later each time."""
        rest = min(_FIRST_REST * 2.0**self.failures, _LONGEST_REST)
        return Record(self.failures + 1, now + rest, self.lied)

    def busy(self, now: float) -> Record:
        """It serves others just now, which is no fault."""
        return Record(self.failures, now + _BUSY_REST, self.lied)

    def served(self) -> Record:
        return Record(lied=self.lied)

    def caught(self) -> Record:
        """It sent wrong bytes: it is not asked again."""
        return Record(self.failures, self.rests_until, lied=True)


@dataclass(frozen=True)
class Facts:
    """A file on its way. `order` names every chunk once: peers that differ in it can soon give each other something."""

    order: Sequence[int]
    here: Collection[int]
    donors: Mapping[bytes, Collection[int]]  # the chunks that each holds
    asked: Collection[tuple[bytes, int]]  # requests under way: donor, chunk
    records: Mapping[bytes, Record] = field(default_factory=dict)
    progress_at: float = 0.0  # when the last chunk arrived, or the fetch began; seconds


@dataclass(frozen=True)
class Ask:
    """Ask this donor for this chunk."""

    donor: bytes
    chunk: int
    why: str


@dataclass(frozen=True)
class Fetch:
    """Send these requests now."""

    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Wait:
    """Nothing can be asked for before something arrives, changes, or `until` (seconds)."""

    until: float
    why: str


@dataclass(frozen=True)
class Done:
    """Every chunk is here."""

    why: str = "every chunk is here"


@dataclass(frozen=True)
class GiveUp:
    """Nobody gave anything for too long."""

    why: str


Decision = Fetch | Wait | Done | GiveUp


def decide(facts: Facts, now: float, patience: float) -> Decision:
    """What to do next. It gives up when nothing came for `patience` seconds and nobody can be asked."""
    missing = [chunk for chunk in facts.order if chunk not in facts.here]
    if not missing:
        return Done()
    if asks := tuple(_asks(facts, missing, now)):
        return Fetch(asks)
    if facts.asked:
        return Wait(now + patience, f"{len(facts.asked)} chunks are under way")
    return _nobody(facts, missing, now, patience)


def _asks(facts: Facts, missing: list[int], now: float) -> Iterator[Ask]:
    """Peers first, each the rarest chunk that it holds; then the coordinator, for what they leave to it."""
    usable = {donor: set(held) for donor, held in facts.donors.items() if _usable(facts, donor, now)}
    holders = Counter(chunk for donor, held in usable.items() if donor != COORDINATOR for chunk in held)
    under_way = {chunk for _, chunk in facts.asked}
    wanted = [chunk for chunk in missing if chunk not in under_way]
    wanted.sort(key=lambda chunk: holders[chunk])  # stable: equally rare ones stay in order
    free = {donor: OUTSTANDING - sum(donor == other for other, _ in facts.asked) for donor in usable}
    for donor in _in_turn({donor: free[donor] for donor in usable if donor != COORDINATOR}):
        if (chunk := next((chunk for chunk in wanted if chunk in usable[donor]), None)) is not None:
            wanted.remove(chunk)
            yield Ask(donor, chunk, f"{holders[chunk]} peers hold it")
    left = [chunk for chunk in wanted if chunk in usable.get(COORDINATOR, ()) and holders[chunk] < ENOUGH_PEERS]
    for chunk in left[: max(0, free.get(COORDINATOR, 0))]:
        yield Ask(COORDINATOR, chunk, "every peer that holds it is at work" if holders[chunk] else "no peer holds it")


def _in_turn(free: Mapping[bytes, int]) -> Iterator[bytes]:
    """Each donor once, then each that has room for another request, and so on."""
    for used in range(OUTSTANDING):
        yield from (donor for donor, room in free.items() if room > used)


def _usable(facts: Facts, donor: bytes, now: float) -> bool:
    record = facts.records.get(donor, Record())
    return not record.lied and record.rests_until <= now


def _nobody(facts: Facts, missing: list[int], now: float, patience: float) -> Decision:
    end = facts.progress_at + patience
    why = _why_nobody(facts, missing)
    if now >= end:
        return GiveUp(f"{len(missing)} of {len(facts.order)} chunks are missing, and for {patience:.0f} s {why}")
    rests = [record.rests_until for donor, record in facts.records.items() if _resting(facts, donor, now)]
    return Wait(min([end, *rests]), f"{why}; it is tried for {end - now:.0f} s more")


def _resting(facts: Facts, donor: bytes, now: float) -> bool:
    return donor in facts.donors and not facts.records[donor].lied and facts.records[donor].rests_until > now


def _why_nobody(facts: Facts, missing: list[int]) -> str:
    holding = [donor for donor, held in facts.donors.items() if any(chunk in held for chunk in missing)]
    records = [facts.records.get(donor, Record()) for donor in holding]
    if not holding:
        return "nobody holds them"
    if all(record.lied for record in records):
        return "whoever holds them sent wrong bytes"
    return "no donor answers" if any(record.failures for record in records) else "every donor is busy"


def to_bits(chunks: Collection[int], count: int) -> bytes:
    """A set of chunks below `count` for the wire: bit i % 8 of byte i // 8 is chunk i."""
    bits = bytearray((count + 7) // 8)
    for chunk in chunks:
        bits[chunk // 8] |= 1 << chunk % 8
    return bytes(bits)


def from_bits(bits: bytes, count: int) -> frozenset[int]:
    """The chunks below `count` that `bits` names, whatever somebody sent."""
    return frozenset(i for i in range(min(count, 8 * len(bits))) if bits[i // 8] >> i % 8 & 1)
