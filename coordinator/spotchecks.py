"""Who looks at whose work, how often, and what comes of it. Pure.

How often is adaptive, as BOINC's replication (Anderson 2020, "BOINC: A Platform for Volunteer Computing", Journal of
Grid Computing 18, arXiv 1903.01699): a key that was found clean `TRUSTED` times in a row is checked in one of `RARELY`
cases, every other one whenever a checker is free. Whoever is watched is not told.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from coordinator import decisions as d
from coordinator import events as e
from coordinator import trust
from coordinator.ledger import number_of
from coordinator.records import Member
from coordinator.state import State, Step
from coordinator.watches import SpotCheck, SpotChecked, Watch
from swarm.errors import NotFoundError
from swarm.passes import Role
from swarm.ranges import Range, among, gaps, merge, total

TRUSTED = 10  # clean checks in a row
RARELY = 10
_LATELY = 4  # rounds
RUNS_OUT = 3600.0  # seconds for a round to come, and to be computed again
_CHECKERS = (Role.VALIDATOR, Role.MAINTAINER)
_CLOSED = "There is no such spot check for this member, or its time is over."
_AGAIN = "Another one may come with a heartbeat."


@dataclass(frozen=True)
class Subject:
    """What a checker computes again: the positions that the member was counted for, in its order, and as many others
    to compare with. `why` says why there are none yet.
    """

    own: Sequence[Range] = ()
    control: Sequence[Range] = ()
    why: str = ""


def rate(clean: int) -> float:
    """In which part of the cases a key is checked that was found clean so often in a row."""
    return 1.0 if clean < TRUSTED else 1.0 / RARELY


def checks(state: State, member: Member) -> bool:
    """Whether this member looks at others' work: its invite says so. That of the coordinator's own machine, a
    maintainer's, is in no table.
    """
    invite = state.invites.get(member.invite)
    return invite.role in _CHECKERS if invite else bool(member.invite)


def assigned(state: State, checker_id: str, now: float, seed: str) -> State:
    """With somebody to watch for a checker that is free, drawn once in each round; without a check that ran out."""
    checker = state.members[checker_id]
    if not checker.live or not checks(state, checker):
        return state
    watch = state.watches.get(checker_id, Watch())
    if watch.check and not _runs(state, watch.check, now):
        watch = replace(watch, check=None)
    if watch.check is None and watch.drawn != state.round:
        watch = Watch(state.round, _drawn(state, checker, now, random.Random(seed)))
    return replace(state, watches=state.watches.set(checker_id, watch))


def wanted(state: State, checker_id: str) -> SpotCheck | None:
    """What a checker shall do now."""
    return state.watches.get(checker_id, Watch()).check


def subject(state: State, checker_id: str, check_id: str, round_: int, now: float) -> Subject:
    """What is to be computed again of the round. Raises NotFoundError when the check is none of this checker's."""
    check = _open(state, checker_id, check_id, round_, now)
    if check is None:
        raise NotFoundError(_CLOSED, _AGAIN)
    own = counted(state, check.member, round_)
    if not own:
        return Subject(why="nothing was counted for the member in that round so far")
    return Subject(own, control(own, state.terms.epoch_samples, random.Random(f"{check.id}/{round_}")))


def judged(state: State, event: e.Checked, now: float) -> Step:
    """The end of a check, told once by who was asked for it."""
    check = _open(state, event.member, event.check, event.round, now)
    if check is None:
        return state, [d.Refused(_CLOSED, _AGAIN, NotFoundError.code)]
    if event.passed is not None and not counted(state, check.member, event.round):
        why = "Nothing was counted for the watched member in that round."
        return state, [d.Refused(why, "Give the check up.", NotFoundError.code)]
    watch = replace(state.watches[event.member], check=None)
    state = replace(state, watches=state.watches.set(event.member, watch))
    member, checker = state.members[check.member], state.members[event.member]
    made: list[d.Decision] = [SpotChecked(member, checker, event.round, event.passed, event.why)]
    if event.passed is None:
        return state, made
    state, more = trust.checked(state, member.key, event.passed, event.why, now)
    return state, [*made, *more]


def counted(state: State, member: str, round_: int) -> list[Range]:
    """What counted for a member in a round, in the order in which it was trained on: leases are used as they come."""
    entries = [entry for entry in state.ledger.counted.get(round_, {}).values() if entry.member == member]
    ordered = sorted(entries, key=lambda entry: (number_of(entry.lease), entry.range.start))
    return [entry.range for entry in ordered]


def control(own: Sequence[Range], epoch_samples: int, rng: random.Random) -> list[Range]:
    """As many other positions of the same epoch, side by side but for what is left out; none in a small epoch."""
    begin = own[0].start - own[0].start % epoch_samples
    epoch = Range(begin, begin + epoch_samples)
    others = gaps(among(merge(own), epoch), epoch)
    spare = total(others) - total(own)
    return _part(others, rng.randrange(spare + 1), total(own)) if spare >= 0 else []


def _part(ranges: Sequence[Range], skipped: int, count: int) -> list[Range]:
    found = []
    for start, stop in ranges:
        first = min(start + skipped, stop)
        part = Range(first, min(stop, first + count))
        skipped, count = skipped - (first - start), count - len(part)
        found += [part] if part else []
    return found


def _open(state: State, checker: str, check_id: str, round_: int, now: float) -> SpotCheck | None:
    """The checker's check of that id, when it may be about that round."""
    check = wanted(state, checker)
    known = check is not None and check.id == check_id and check.since <= round_ and _runs(state, check, now)
    return check if known else None


def _runs(state: State, check: SpotCheck, now: float) -> bool:
    return now < check.deadline and state.members[check.member].live


def _drawn(state: State, checker: Member, now: float, rng: random.Random) -> SpotCheck | None:
    watched = {watch.check.member for watch in state.watches.values() if watch.check}
    others = [member for member in state.live if member.key != checker.key and member.id not in watched]
    # Whoever only says that it is there is nobody to watch beside those who train.
    others = [member for member in others if member.paid >= max(0, state.round - _LATELY)] or others
    due = [member for member in others if rng.random() < rate(trust.of(state, member.key).clean)]
    if not due:
        return None
    return SpotCheck(f"{rng.getrandbits(64):016x}", rng.choice(due).id, state.round, now + RUNS_OUT)
