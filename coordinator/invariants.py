"""What must hold of a run, whatever happened to it. Pure: records in, findings out; none says that all holds.

`of_state` judges a state in memory, after any tick; `of_ledger` judges it against its whole ledger, as a store keeps
both. What is `failed` follows from no history of `coordinator.tick`: something was damaged, or a rule is broken. A
`warning` may follow from one, and people should know of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from coordinator.ledger import CLOSED_KEPT, Entry, Lease, Ledger, number_of
from coordinator.records import Filed, Member
from coordinator.rounds import Poll
from coordinator.state import State, Votes
from coordinator.trust import CLEARED, CONDEMNED
from swarm.checks import Check, Level
from swarm.errors import CorruptError
from swarm.ranges import Range, merge, without
from swarm.trials import chain

HOLDS = {
    "rounds": "one after the other, and each is there",
    "waiting": "no checkpoint waits for others' words on a round that is over",
    "digests": "all members that finished a round name the same state",
    "leases": "every counted sample belongs to one lease and lies inside it",
    "positions": "each is free, lent or counted, and only one of these",
    "credit": "the members' sums are those of the ledger",
    "reports": "each was filed once",
    "standing": "what spot checks said of each key is what they can say",
    "record": "each entry of the public record follows from the one before it",
}
_REMEDY = "No rule of the coordinator leads to this. Restore a backup, or report it with the output of --json."
_LATE = "Nothing, while reports are still to come; after a restored backup they never do, and no state depends on them."
_DIFFERS = "They take the state from the others. When it is always the same member, look at its machine."

Place = tuple[Range, str]  # positions, and where they are, for people


@dataclass(frozen=True)
class Named:
    """A file that something names; `digest` is that of the state in it, for checkpoints."""

    name: str
    sha256: str
    size: int  # bytes
    digest: str = ""


@dataclass(frozen=True)
class Found:
    """A file as it lies on the disk; `digest` is empty when it holds no state that can be read."""

    sha256: str
    size: int  # bytes
    digest: str = ""


def of_state(state: State) -> list[Check]:
    """What does not hold of a state by itself. Its ledger has forgotten the entries of old rounds."""
    counted = [entry for group in state.ledger.counted.values() for entry in group.values()]
    places = positions(state.ledger, counted, whole=False)
    return [*rounds(state), *waiting(state), *digests(state), *leases(state, counted), *places, *standing(state)]


def of_ledger(state: State, entries: Sequence[Entry]) -> list[Check]:
    """What does not hold of a state together with all entries that were ever written."""
    counted = [entry for entry in entries if entry.state == "counted"]
    return [
        *rounds(state),
        *waiting(state),
        *digests(state),
        *_without_digest(state, counted),
        *leases(state, counted),
        *positions(state.ledger, counted, whole=True),
        *_vanished(state.ledger, entries),
        *credit(state.members, entries),
        *standing(state),
    ]


# ── rounds and digests ─────────────────────────────────────────────────────────────────────────


def rounds(state: State) -> Iterator[Check]:
    """Rounds follow each other, from the latest checkpoint on; before it, reports are not needed any more."""
    wrong = [number for number in state.votes if not 0 <= number < state.terms.total_rounds]
    if wrong:
        yield _failed("rounds", f"reports of rounds that this run does not have: {_listed(wrong)}")
    kept = [number for number in state.votes if number not in wrong and number < state.round]  # others may yet come
    missing = sorted(set(range(_latest(state), max(kept, default=0))) - set(kept))
    if missing:
        says = f"nobody reported round {_listed(missing)}, though later rounds are reported"
        yield Check("rounds", Level.WARNING, says, _LATE)


def waiting(state: State) -> Iterator[Check]:
    """What was brought before the members agreed on its round is taken or dropped once they do."""
    for it in state.brought.values():
        if it.round <= state.round:
            what = f"the checkpoint of round {it.round} from {it.uploaded_by}"
            yield _failed("waiting", f"{what} waits, but the run is in round {state.round}")


def digests(state: State) -> Iterator[Check]:
    """Whoever finished a round holds the same state, and its checkpoint is that state."""
    for number, poll in sorted(state.votes.items()):
        if others := poll.minority:
            top = poll.majority
            who = ", ".join(f"{member} {poll.votes[member].digest[:12]}" for member in others)
            yield Check("digests", Level.WARNING, f"round {number}: most name {top[:12]}, but {who}", _DIFFERS)
    for number, checkpoint in sorted(state.checkpoints.items()):
        if state.votes.get(number - 1, Poll()).contradicts(checkpoint.digest):
            says = f"the checkpoint of round {number} is another state than most reports of the round before name"
            yield Check("digests", Level.WARNING, says, "Compare with swarm checkpoints list; it was accepted first.")


def _named(state: State, entry: Entry) -> bool:
    """Whether the member named the state that the round with this entry made."""
    return entry.member in state.votes.get(entry.round, Poll()).votes


def _without_digest(state: State, counted: Iterable[Entry]) -> Iterator[Check]:
    """Samples count for a state; who contributed them and named none cannot be compared with the others."""
    kept = range(_latest(state), state.round)
    silent = {(e.round, e.member) for e in counted if e.round in kept and not _named(state, e)}
    for number, member in sorted(silent):
        says = f"round {number}: samples of {member} are counted, but it named no state"
        yield Check("digests", Level.WARNING, says, "Nothing: the others' digests agree on the round.")


# ── leases and positions ───────────────────────────────────────────────────────────────────────


def leases(state: State, counted: Iterable[Entry]) -> Iterator[Check]:
    """A lease is a part of one epoch, lent to a member, and what is counted of it lies inside it."""
    ledger = state.ledger
    known = {lease.id: lease for lease in (*ledger.closed.values(), *ledger.leases.values())}
    for lease in known.values():
        yield from _of_lease(lease, state)
    for number, count in Counter(lease.number for lease in known.values()).items():
        if count > 1:
            yield _failed("leases", f"{count} leases have the number {number}")
    for entry in counted:
        yield from _of_counted(entry, known.get(entry.lease), ledger)
    for back in ledger.returns:
        if back.first_lease > ledger.next_number:
            yield _failed("leases", f"the run went back to round {back.round} at a lease that was not yet given")


def _of_lease(lease: Lease, state: State) -> Iterator[Check]:
    start, stop = lease.range
    size = max(1, state.terms.epoch_samples)
    if not 0 <= start < stop or start // size != (stop - 1) // size:
        yield _failed("leases", f"lease {lease.id} of positions {_span(lease.range)} is no part of one epoch")
    if any(not part or not lease.range.covers(part) for part in lease.left):
        yield _failed("leases", f"lease {lease.id} holds positions outside {_span(lease.range)}")
    if lease.member not in state.members:
        yield _failed("leases", f"lease {lease.id} is lent to {lease.member}, who is no member")
    if lease.number >= state.ledger.next_number:
        yield _failed("leases", f"lease {lease.id} has a number that is still to be given")


def _of_counted(entry: Entry, lease: Lease | None, ledger: Ledger) -> Iterator[Check]:
    what = f"positions {_span(entry.range)}, counted in round {entry.round} for {entry.member},"
    if lease is None:
        if number_of(entry.lease) >= ledger.next_number - CLOSED_KEPT:  # older ones are forgotten
            yield _failed("leases", f"{what} name the lease {entry.lease}, which was never given")
        return
    if lease.member != entry.member:
        yield _failed("leases", f"{what} belong to a lease of {lease.member}")
    if not entry.range or not lease.range.covers(entry.range):
        yield _failed("leases", f"{what} lie outside lease {lease.id} of {_span(lease.range)}")
    if back := ledger.undone_by(lease, entry.round):
        yield _failed("leases", f"{what} were undone when the run went back to round {back.round}")


def positions(ledger: Ledger, counted: Iterable[Entry], whole: bool) -> Iterator[Check]:
    """Every position is in one place; `whole` says that `counted` is all that was ever counted, so none is missing."""
    reached: Place = (Range(0, 0), "the beginning")
    for place in sorted(_places(ledger, counted)):
        (start, stop), what = place
        before, there = reached
        if start < before.stop:
            both = Range(start, min(stop, before.stop))
            yield _failed("positions", f"{_span(both)} are {there} and {what}")
        elif whole and start > before.stop:
            yield _failed("positions", f"{_span(Range(before.stop, start))} are neither free nor lent nor counted")
        if stop > before.stop:
            reached = place


def _places(ledger: Ledger, counted: Iterable[Entry]) -> Iterator[Place]:
    yield from ((part, "free") for part in ledger.free)
    for lease in ledger.leases.values():
        yield from ((part, f"lent in lease {lease.id}") for part in lease.left)
    yield from ((entry.range, f"counted in round {entry.round} of lease {entry.lease}") for entry in counted)


def _vanished(ledger: Ledger, entries: Iterable[Entry]) -> Iterator[Check]:
    """The ledger says of every position of a lease that has ended what became of it."""
    said: defaultdict[str, list[Range]] = defaultdict(list)
    for entry in entries:
        said[entry.lease].append(entry.range)
    for lease in ledger.closed.values():
        for part in without([lease.range], said[lease.id]):
            yield _failed("positions", f"the ledger does not say what became of {_span(part)} of lease {lease.id}")


# ── credit and reports ─────────────────────────────────────────────────────────────────────────


def credit(members: Mapping[str, Member], entries: Iterable[Entry]) -> Iterator[Check]:
    """What the members are told is the sum of what the ledger says of them."""
    sums: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        sums[entry.member, entry.state] += entry.range.stop - entry.range.start
    for who in sorted({member for member, _ in sums} - set(members)):
        yield _failed("credit", f"the ledger names {who}, who is no member")
    for member in members.values():
        for state, told in (("counted", member.counted), ("rejected", member.rejected)):
            if told != sums[member.id, state]:
                says = f"{member.id} has {told} samples {state}, but the ledger says {sums[member.id, state]}"
                yield _failed("credit", says)


def reports(filed: Sequence[Filed], named: Iterable[str], votes: Votes) -> Iterator[Check]:
    """No report was filed twice, and what entries (by key) and votes (by member) rest on was filed."""
    for key, count in Counter(report.key for report in filed).items():
        if count > 1:
            yield _failed("reports", f"the report {key[:12]} was filed {count} times")
    for key in sorted(set(named) - {report.key for report in filed}):
        yield _failed("reports", f"the ledger rests on the report {key[:12]}, which was never filed")
    known = {(report.round, report.member) for report in filed}
    for number, member in sorted({(number, who) for number, cast in votes.items() for who in cast.votes} - known):
        yield _failed("reports", f"{member} names a state of round {number}, but never reported it")


def standing(state: State) -> Iterator[Check]:
    """Of each key fewer checks were clean than were made, and no evidence is left that would have condemned it."""
    for key, found in sorted(state.trust.items()):
        if not 0 <= found.clean <= found.made or not CLEARED <= found.evidence < CONDEMNED:
            yield _failed(
                "standing", f"{key}: {found.clean} of {found.made} checks clean, evidence {found.evidence:.2f}"
            )


def record(entries: Iterable[chain.Entry]) -> Iterator[Check]:
    """Of each entry the hash is that of what it says, and of the one before it."""
    try:
        chain.require_whole(entries)
    except CorruptError as error:
        yield _failed("record", error.what.rstrip("."))


# ── files ──────────────────────────────────────────────────────────────────────────────────────


def files(check: str, named: Iterable[Named], found: Mapping[str, Found], remedy: str) -> Iterator[Check]:
    """Every file that is named is there, with its size, its bytes and its state; `found` has them by their names."""
    for wanted in named:
        if why := _flaw(wanted, found.get(wanted.sha256)):
            yield Check(check, Level.FAILED, f"{wanted.name} ({wanted.sha256[:16]}…) {why}", remedy)


def misnamed(found: Mapping[str, Found], remedy: str) -> Iterator[Check]:
    """A blob's name is the SHA-256 of its bytes."""
    for name, file in sorted(found.items()):
        if file.sha256 != name:
            yield Check("blobs", Level.FAILED, f"{name} is torn or was altered: its SHA-256 is another", remedy)


def _flaw(wanted: Named, found: Found | None) -> str:
    if found is None:
        return "is missing"
    if found.size != wanted.size:
        return f"has {found.size} bytes instead of {wanted.size}"
    if found.sha256 != wanted.sha256:
        return "is torn or was altered: its SHA-256 is another"
    if found.digest != wanted.digest:
        return "does not hold the state that it was accepted as"
    return ""


def _failed(name: str, says: str) -> Check:
    return Check(name, Level.FAILED, says, _REMEDY)


def _latest(state: State) -> int:
    """The round of the latest checkpoint; damaged tables may have none."""
    return max(state.checkpoints, default=0)


def _span(part: Range) -> str:
    return f"{part.start}–{part.stop - 1}"


def _listed(numbers: Iterable[int]) -> str:
    """3, 5–80: a restored run may lack hundreds of rounds."""
    parts = merge(Range(number, number + 1) for number in numbers)
    return ", ".join(str(part.start) if len(part) == 1 else _span(part) for part in parts)
