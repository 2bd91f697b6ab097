"""Whether the run itself has gone wrong, and then: back to the last good checkpoint, by rule. Pure.

It has when, of one lineage and in the round that is made or the one before, more than half of the live members had to
quarantine themselves because of a number that is not finite or a spike of the loss; or when most reports of a round
have no finite loss; or when two members find that the held-out loss of agreed states is not finite. Who has a voice is
as in `coordinator.quorum`. The first state in doubt is that of the earliest round named: only an older checkpoint is
good. PaLM (Chowdhery et al. 2022, arXiv 2204.02311, section 5.1) did the same by hand at every spike of its loss.

It ends: what happens a second time at the same place goes to an older checkpoint, as far as they are kept, and after
`MOST` times there the run is stopped.
"""

from __future__ import annotations

import math
from dataclasses import replace

from coordinator import checkpoints, quorum
from coordinator import decisions as d
from coordinator.records import Checkpoint, Doubt, Evaluation, Member, Pulse, Quarantine, RollBack, RoundReport
from coordinator.returning import expire, go_back
from coordinator.rounds import Poll
from coordinator.state import State, Step
from swarm.faults import DIVERGING
from swarm.identity import key_of

MOST = 3  # times at the same place
_NEAR = 8  # rounds beyond a place that are still the same place
_NAMED = 3  # keys at most on whose word the run went back: so many fit into the tables
_WINDOW = 1  # rounds: who quarantined itself that long ago still counts


def heard(state: State, before: Member) -> Step:
    """After a heartbeat of a member that was `before`."""
    member = state.members[before.id]
    found = member.pulse.quarantine
    if found is None:
        return state, []
    made: list[d.Decision] = [d.Quarantined(member, found)] if found != before.pulse.quarantine else []
    if state.halted or not _current(state, member):
        return state, made
    state, more = _back_if_most(state)
    return state, [*made, *more]


def _back_if_most(state: State) -> Step:
    """A member that is alone may only have a bad machine: its first try again is its own."""
    here = quorum.voters(state)
    found = {member.id: quarantine for member in here if (quarantine := _current(state, member))}
    if not quorum.most(here, found) or (len(here) == 1 and found[here[0].id].in_a_row < 2):
        return state, []
    first = min(found.values(), key=lambda quarantine: quarantine.round)
    return roll_back(state, first.round, f"{len(found)} of {len(here)} members quarantined themselves ({first.why})")


def _current(state: State, member: Member) -> Quarantine | None:
    """The member's quarantine, when it may tell of the run's state now."""
    found = member.pulse.quarantine
    if found is None or found.fault not in DIVERGING or member.lineage < state.lineage:
        return None
    return found if found.round >= state.round - _WINDOW else None


def reported(state: State, round_: int) -> Step:
    """After a report of that round."""
    poll = state.votes.get(round_, Poll())
    if not poll.diverged or state.halted:
        return state, []
    ids = dict.fromkeys([*poll.votes, *(member.id for member in state.live)])
    here, _ = quorum.weighing(state, [state.members[member] for member in ids])
    bad = [one.id for one in here if one.id in poll.votes and not math.isfinite(poll.votes[one.id].loss)]
    if not quorum.most(here, bad) or 2 * len(bad) <= min(poll.votes[one].group_size for one in bad):  # others are gone
        return state, []
    return roll_back(state, round_, f"{len(bad)} of {len(here)} members reported no finite loss of round {round_}")


def evaluated(state: State, found: Evaluation) -> Step:
    """After an evaluation of a state that the run knows. Two keys must doubt it or a later one, with two invites where
    there are as many, and each is heard once: a machine may compute wrongly. A finite loss meanwhile clears the state.
    """
    member = state.members.get(found.evaluated_by)
    if member is None or state.halted or found.digest != _agreed(state, found.round):
        return state, []
    if math.isfinite(found.heldout_loss):
        return _cleared(state, found.round), []
    doubts = {**state.doubts, member.key: Doubt(found.round, member.invite)}
    state = replace(state, doubts=doubts)
    believed = _believed(state)
    if not believed:
        return state, []
    place = min(doubt.round for doubt in believed.values())
    why = f"the held-out loss of round {found.round} is {found.heldout_loss}"
    return roll_back(state, place, why, " ".join(sorted(believed)[:_NAMED]))


def _cleared(state: State, round_: int) -> State:
    doubts = {key: doubt for key, doubt in state.doubts.items() if doubt.round > round_}
    return replace(state, doubts=doubts) if doubts != state.doubts else state


def _believed(state: State) -> dict[str, Doubt]:
    """The doubts of who is here and has a voice, and was not heard before; none while they are too few."""
    here = quorum.voters(state)
    keys, invites = {member.key for member in here}, {member.invite for member in here}
    heard_before = {key_of(name) for back in state.rollbacks for name in back.told_by.split()}
    found = {key: doubt for key, doubt in state.doubts.items() if key in keys - heard_before}
    enough = len(found) >= min(2, len(keys)) and len({doubt.invite for doubt in found.values()}) >= min(2, len(invites))
    return found if found and enough else {}


def _agreed(state: State, round_: int) -> str:
    """The digest of θ_round_: its checkpoint's, else the one that was agreed on; empty when neither is known."""
    checkpoint = state.checkpoints.get(round_)
    return checkpoint.digest if checkpoint else state.agreed_on(round_ - 1)


def roll_back(state: State, place: int, why: str, told_by: str = "") -> Step:
    """To the newest checkpoint from before θ_place, in a new lineage; or stop, when that did not help."""
    last = state.rollbacks[-1] if state.rollbacks else None
    same = last if last and place <= last.place + _NEAR else None  # it happened there before
    again = same.again + 1 if same else 1
    target = _target(state, place, same.back_to if same else place)
    number = state.lineage + 1
    if again > MOST or target is None:
        return _halt(state, RollBack(number, place, state.latest.round, again, _sentence(again, target, why), True))
    place = max(place, same.place) if same else place
    back = RollBack(number, place, target.round, again, why, told_by=told_by)
    state, expired = _take_back_leases(state)
    state, gone = go_back(replace(state, rollbacks=(*state.rollbacks, back)), target.round, because=why)
    state, dropped = checkpoints.without_later(state, target.round, f"the run went back to before it: {why}")
    state = replace(state, doubts={}).with_members([replace(member, holds=0) for member in state.live])
    return state, [*expired, *gone, d.RolledBack(back), *dropped]


def _target(state: State, place: int, before: int) -> Checkpoint | None:
    """Of the good checkpoints the newest from before round `before`, else the newest; the first is always good."""
    rounds = [key for key in state.checkpoints if state.ledger.since <= key and (key < place or key == 0)]
    older = [key for key in rounds if key < before]
    return state.checkpoints[max(older or rounds)] if rounds else None


def _sentence(again: int, target: Checkpoint | None, why: str) -> str:
    tried = "no checkpoint from before that is kept" if target is None else f"going back {again - 1} times did not help"
    return f"{why}, and {tried}"


def _halt(state: State, stop: RollBack) -> Step:
    """Nobody trains on; what there is stays as it is."""
    state, expired = _take_back_leases(state)
    return replace(state, rollbacks=(*state.rollbacks, stop)), [*expired, d.RolledBack(stop)]


def _take_back_leases(state: State) -> Step:
    """So that whatever is done with them counts for nothing."""
    return expire(state, sorted(state.ledger.leases.values(), key=lambda lease: lease.number), "the run diverged")


# ── what belongs to an earlier lineage ─────────────────────────────────────────────────────────


def no_lease(state: State, member: Member) -> str:
    """Why this member is lent nothing; empty when it may be."""
    if state.finished:
        return state.steering.finished or "the run is finished"
    if state.halted:
        return f"the run was stopped: {state.halted}"
    return state.steering.paused or overtaken(state, member)


def overtaken(state: State, member: Member) -> str:
    """Why what the member holds is no state of the run any more; empty when it may be."""
    if member.lineage >= state.lineage:
        return ""
    return f"the run went back to round {state.rollbacks[-1].back_to}; its state must be loaded first"


def void(state: State, report: RoundReport) -> str:
    """Why a report of an earlier lineage is about a round that was undone; empty when it is not."""
    later = [back.back_to for back in state.rollbacks if back.number > report.lineage and not back.halted]
    to = min(later, default=report.round + 1)
    return f"the run went back to round {to}" if report.round >= to else ""


def went_back(state: State) -> str:
    """The newest going back, for members; empty when there was none."""
    if not state.rollbacks:
        return ""
    last = state.rollbacks[-1]
    return f"the run went back to round {last.back_to}: {last.why}"


def differs(state: State, pulse: Pulse) -> str:
    """Why the state that a member holds is not the run's, as far as that is known; empty when it may be."""
    checkpoint = state.checkpoints.get(pulse.round)
    if not pulse.digest or (checkpoint and checkpoint.digest == pulse.digest):
        return ""
    if state.agreed_on(pulse.round - 1) not in ("", pulse.digest):
        return f"most of those who made the state of round {pulse.round} hold another one"
    return f"the run's checkpoint of round {pulse.round} is another state" if checkpoint else ""
