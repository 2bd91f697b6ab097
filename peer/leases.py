"""Leases as supervisor and worker speak of them, and as updates show them. No torch here: the supervisor holds none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from peer.newest import Newest
from swarm.identity import key_of
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Range

MOST = 32  # leases that one update shows; members have a few at a time, and take no more in one round
_REMEMBERED = 16_384  # leases of which is known how much went into rounds

# The coordinator's word on a lease (`swarm.lent`); None when it is none.
Open = Callable[[bytes], pb.Lent | None]


@dataclass(frozen=True)
class LeasedRange:
    """Positions of one lease; `lent` is the coordinator's word on the whole of it, as it travels."""

    lease_id: str
    range: Range
    lent: bytes = b""


@dataclass(frozen=True)
class Leased:
    """The coordinator's answer: a lease, or why there is none."""

    lease: LeasedRange | None
    why: str = ""


@dataclass(frozen=True)
class Use:
    """So many samples of the lease of that word."""

    lent: bytes
    samples: int


def uses_of(ranges: Iterable[LeasedRange]) -> tuple[Use, ...]:
    """What an update of these samples shows."""
    found = Counter[bytes]()
    for part in ranges:
        found[part.lent] += len(part.range)
    return tuple(Use(lent, samples) for lent, samples in found.items() if lent)


def objection(member: str, samples: int, uses: Sequence[Use], opened: Open) -> str:
    """Why the leases that a member's update shows do not bear its `samples`; empty when they do. Pure.

    They may be of another seat of its key: a process may have to take another one while it trains.
    """
    shown: set[str] = set()
    for use in uses if samples else ():
        lent = opened(use.lent)
        if lent is None:
            return "it shows a lease that the run's coordinator did not sign"
        if key_of(lent.member) != key_of(member):
            return f"it shows the lease {lent.lease_id} of {lent.member}"
        if lent.lease_id in shown:
            return f"it shows the lease {lent.lease_id} twice"
        if not 0 < use.samples <= _size(lent):
            return f"it says that it used {use.samples} samples of the lease {lent.lease_id}, which has {_size(lent)}"
        shown.add(lent.lease_id)
    found = sum(use.samples for use in uses)
    return "" if found == samples else f"it says that it is of {samples} samples, but shows leases for {found}"


def share(uses: Iterable[Use], opened: Open) -> float:
    """What each sample weighs, 0 to 1, by the smallest word that is shown; nothing without one. Pure."""
    words = [opened(use.lent) for use in uses]
    return min((word.share if word else 0.0 for word in words), default=0.0)


class Spent:
    """How much of each lease went into which round, as the rounds' leader saw it. Only the newest leases are known."""

    def __init__(self) -> None:
        self._rounds = Newest[str, dict[int, int]](_REMEMBERED)

    def note(self, round_: int, uses: Iterable[Use], opened: Open) -> None:
        """They all went into the round, which all applied."""
        for lent, samples in summed(uses, opened):
            self._rounds[lent.lease_id] = {**self._rounds.get(lent.lease_id, {}), round_: samples}

    def objection(self, round_: int, uses: Iterable[Use], opened: Open, beside: Iterable[Use] = ()) -> str:
        """Why they cannot go into the round, too, with those `beside` them in it; empty when they can. To try a round
        again is no second use.
        """
        others = {lent.lease_id: samples for lent, samples in summed(beside, opened)}
        for lent, samples in summed(uses, opened):
            rounds = self._rounds.get(lent.lease_id, {})
            before = others.get(lent.lease_id, 0) + sum(count for number, count in rounds.items() if number < round_)
            if before + samples > _size(lent):
                return (
                    f"the lease {lent.lease_id} is used up: of its {_size(lent)} samples {before} went into earlier "
                    f"rounds or are in another update of this one, and it shows {samples} again"
                )
        return ""


def overdrawn(uses: Iterable[Use], opened: Open) -> str:
    """The first lease of which the updates of one round use more samples together than it has; empty for none. Pure."""
    return next((lent.lease_id for lent, samples in summed(uses, opened) if samples > _size(lent)), "")


def summed(uses: Iterable[Use], opened: Open) -> list[tuple[pb.Lent, int]]:
    """Each lease with the samples that are used of it. Pure."""
    words, used = dict[str, pb.Lent](), Counter[str]()
    for use in uses:
        if lent := opened(use.lent):
            words[lent.lease_id] = lent
            used[lent.lease_id] += use.samples
    return [(words[lease], samples) for lease, samples in used.items()]


def _size(lent: pb.Lent) -> int:
    return lent.range.stop - lent.range.start
