"""The run's state machine: what happened and the time go in, a new state and the decisions come out. Pure.

The rules are the table "Coordinator" in docs/architecture.md. Times are Unix seconds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from coordinator import (
    bans,
    checkpoints,
    divergence,
    evaluations,
    grants,
    invites,
    membership,
    quorum,
    spotchecks,
    trials,
    trust,
)
from coordinator import decisions as d
from coordinator import events as e
from coordinator.kinds import CoordinatorBack
from coordinator.ledger import Entry, Ledger
from coordinator.recalling import recall, unsettled
from coordinator.records import Member, RoundReport
from coordinator.returning import expire, go_back
from coordinator.rounds import ReportDeferred
from coordinator.seats import seat_for
from coordinator.state import State, Step
from coordinator.steering import Steered, Steering
from swarm.ranges import total

_UNHEARD = 2.0  # times a member's patience: to find a coordinator that was away, and to say what it forgot


def tick(state: State, events: Iterable[e.Event], now: float, seed: int) -> Step:
    """Apply `events` in their order, then what is due at `now`; `seed` makes lease ids hard to guess."""
    made: list[d.Decision] = []
    for number, event in enumerate(events):
        before = state
        state, more = _apply(state, event, now, f"{seed}/{number}")
        state, agreed = quorum.looked(state) if _others_speak(before, state) else (state, [])
        made += [*more, *agreed]
    state, due = _elapse(state, now)
    return state, [*made, *due]


def _others_speak(before: State, after: State) -> bool:
    """Whether others than before have a voice: fewer may be enough now to agree on a round."""
    return after.company is not before.company or after.bans is not before.bans


def _apply(state: State, event: e.Event, now: float, seed: str) -> Step:
    match event:
        case e.Join():
            return _join(state, event, now)
        case e.Resumed():
            return _resume(state, event, now), [] if event.seconds is None else [CoordinatorBack(event.seconds)]
        case e.CheckpointUploaded():
            return checkpoints.uploaded(state, event)
        case e.Steer() | e.ApproveCheckpoint():
            return _apply_of_run(state, event, now)
        case e.MakeInvite() | e.RevokeInvite() | e.Ban() | e.Unban() | e.TrustKey():
            return _apply_of_maintainer(state, event, now)
        case (
            e.StartCampaign()
            | e.StopCampaign()
            | e.TakeUnit()
            | e.AnswerUnit()
            | e.ReportFinding()
            | e.ResolveFinding()
        ):
            return trials.apply(state, event, now, random.Random(seed))
        case _:
            return _apply_of_member(state, event, now, seed)


def _apply_of_run(state: State, event: e.Steer | e.ApproveCheckpoint, now: float) -> Step:
    match event:
        case e.Steer():
            return _steer(state, Steering(event.course, event.why, event.by, now))
        case e.ApproveCheckpoint():
            return checkpoints.approve(state, event)


def _steer(state: State, steering: Steering) -> Step:
    """What was decided before stays when that is decided again for the same reason."""
    if state.complete:
        return state, [d.Refused(f"The run is finished: its {state.round} rounds are done.", "Nothing is left to do.")]
    before = state.steering
    if (before.course, before.why) == (steering.course, steering.why):
        return state, []
    return replace(state, steering=steering), [Steered(steering)]


def _apply_of_maintainer(
    state: State, event: e.MakeInvite | e.RevokeInvite | e.Ban | e.Unban | e.TrustKey, now: float
) -> Step:
    match event:
        case e.MakeInvite():
            return invites.make(state, event)
        case e.RevokeInvite():
            return _revoke(state, event, now)
        case e.Ban():
            return _ban(state, event, now)
        case e.Unban():
            return bans.lifted(state, event.key)
        case e.TrustKey():
            return trust.named(state, event.key, event.name, event.by, event.why)


def _apply_of_member(state: State, event: e.MemberEvent, now: float, seed: str) -> Step:
    if refused := membership.refusal(state, event.member, event.session):
        return state, [refused]
    member = state.members[event.member]
    match event:
        case e.Heartbeat():
            state = _beat(state, member, event, now)
            state, agreed = quorum.held(state, state.members[member.id])
            state, made = divergence.heard(state, member)
            return spotchecks.assigned(state, member.id, now, seed), [*agreed, *made]
        case e.Leave():
            return membership.end(state, replace(member, last_seen=now), event.reason)
        case e.TakeLease():
            return _lease(state, member, event.samples, now, random.Random(seed))
        case e.Report():
            return _report(state, member, event)
        case e.Recall():
            return recall(state, member, event, now)
        case e.Checked():
            return spotchecks.judged(state, event, now)
        case _:
            return _answer(state, member, event)


def _answer(state: State, member: Member, event: e.AskRound | e.OfferCheckpoint | e.Evaluated) -> Step:
    match event:
        case e.AskRound():
            why = state.halted or divergence.overtaken(state, member)
            return (state, [d.RoundDenied(event.round, why)]) if why else grants.ask(state, event)
        case e.OfferCheckpoint():
            return checkpoints.offer(state, event)
        case e.Evaluated():
            state, made = evaluations.judge(state, event)
            state, more = divergence.evaluated(state, event.evaluation)
            return state, [*made, *more]


# ── membership ─────────────────────────────────────────────────────────────────────────────────


def _join(state: State, event: e.Join, now: float) -> Step:
    """Leases of an earlier membership are not extended any more."""
    if banned := bans.refusal(state, event.member):
        return state, [banned]
    seat, why = seat_for(state, event)
    if not seat:
        return state, [d.Refused(f"This machine cannot join: {why}.", "Stop some of them, or use another identity.")]
    if full := invites.full(state, event.invite, seat):
        return state, [full]
    before = state.members.get(seat)
    member = Member(
        id=seat,
        name=event.name,
        public_key=event.public_key,
        version=event.version,
        last_seen=now,
        credit=event.credit,
        holds=event.round if event.lineage == state.lineage else 0,
        first_lease=state.ledger.next_number,
        counted=before.counted if before else 0,
        rejected=before.rejected if before else 0,
        invite=event.invite,
        session=event.session,
        lineage=event.lineage,
        since=before.since if before else now,
        away=membership.absence(before, event, now),
    )
    state = replace(state, barred={key: until for key, until in state.barred.items() if key != seat})
    return state.with_member(member), [d.MemberJoined(member, again=before is not None, why=why)]


def _revoke(state: State, event: e.RevokeInvite, now: float) -> Step:
    """The members that joined with the invite end with it."""
    state, made = invites.revoke(state, event, now)
    return _put_out(state, made, lambda member: member.invite == event.id, "its invite was revoked")


def _ban(state: State, event: e.Ban, now: float) -> Step:
    """All seats of the key end with it."""
    state, made = bans.banned(state, event.key, event.name, event.why, now)
    return _put_out(state, made, lambda member: member.key == event.key, f"banned: {event.why}")


def _put_out(state: State, made: list[d.Decision], whom: Callable[[Member], bool], why: str) -> Step:
    """End those memberships, if anything was decided, and let everybody know."""
    if not made:
        return state, []
    for member in filter(whom, state.live):
        state, more = membership.end(state, member, why)
        made = [*made, *more]
    return bans.with_barred(state), made


def _beat(state: State, member: Member, event: e.Heartbeat, now: float) -> State:
    spoke = member.spoke.again(state.round, now, state.terms.heartbeat_seconds / 2)
    seen = replace(member, last_seen=now, heard=True, pulse=event.pulse, lineage=event.lineage, spoke=spoke)
    ledger = state.ledger.extend(member.id, member.first_lease, now + state.terms.lease_seconds)
    return replace(state.with_member(seen), ledger=ledger)


def _resume(state: State, event: e.Resumed, now: float) -> State:
    """After an absence of the coordinator everybody gets the full time again."""
    ledger = state.ledger
    for member in ledger.held:
        ledger = ledger.extend(member, 0, now + state.terms.lease_seconds)
    here = [replace(member, last_seen=now, heard=False) for member in state.live]
    quiet = now + _UNHEARD * state.terms.patience_seconds
    settled = quiet if event.restored else min(state.settled, quiet)  # a clock that is set back must not make it longer
    return replace(state, ledger=ledger, settled=settled).with_members(here)


def _elapse(state: State, now: float) -> Step:
    """End what is due; nobody is looked at before the first of them can be."""
    if now < state.due:
        return state, []
    made: list[d.Decision] = []
    for member in state.live:
        if now - member.last_seen > _patience(state, member):
            why = f"no sign of life for {now - member.last_seen:.0f} s"
            state, more = membership.end(state, member, why, silent=True)
            made += more
    overdue = [lease for lease in state.ledger.leases.values() if lease.deadline <= now]
    state, more = expire(state, sorted(overdue, key=lambda lease: lease.number), "its time ran out")
    deadlines = [lease.deadline for lease in state.ledger.leases.values()]
    silences = [member.last_seen + _patience(state, member) for member in state.live]
    state, agreed = quorum.looked(replace(state, due=min([*deadlines, *silences], default=math.inf)))
    return state, [*made, *more, *agreed]


def _patience(state: State, member: Member) -> float:
    """Who was not heard since the coordinator came back may have to find it first."""
    return state.terms.patience_seconds * (1 if member.heard else _UNHEARD)


# ── leases and reports ───────────────────────────────────────────────────────────────────────────


def _lease(state: State, member: Member, wish: int, now: float, rng: random.Random) -> Step:
    if why := divergence.no_lease(state, member) or unsettled(state, now) or trust.no_lease(state, member):
        return state, [d.LeaseDenied(why)]
    state, made = _go_back_if_lost(state)
    limit = state.ledger.limit(state.terms.target_batch_size, member.pulse.samples_per_second, state.tempo)
    tail = f"{rng.getrandbits(48):012x}"
    deadline = now + state.terms.lease_seconds
    ledger, lease = state.ledger.grant(member.id, max(1, min(wish, limit)), deadline, tail)
    granted = d.LeaseGranted(lease, trust.share(state, member))
    return replace(state, ledger=ledger, due=min(state.due, deadline)), [*made, granted]


def _go_back_if_lost(state: State) -> Step:
    """When somebody begins to train and no member holds the newest state, the run is where its checkpoint is."""
    to = state.latest.round
    if state.reported <= to or any(member.live and member.holds > to for member in state.members.values()):
        return state, []
    return go_back(state, to)


def _counted_by(member: str, entries: Iterable[Entry]) -> int:
    return total(entry.range for entry in entries if entry.member == member and entry.state == "counted")


def _report(state: State, member: Member, event: e.Report) -> Step:
    made: list[d.Decision] = []
    known = dict(event.known)
    for report in event.reports:
        if report.key in known:
            made.append(d.ReportKnown(known[report.key]))
            continue
        if grants.deferred(state, member.id, report):
            made.append(ReportDeferred(report.round, member.id))
            continue
        state, filed, more = _file(state, state.members[member.id], report)
        known[report.key] = filed.receipts
        state, back = divergence.reported(state, report.round) if filed.voted else (state, [])
        made += [filed, *more, *back]
    return state, made


def _file(state: State, member: Member, report: RoundReport) -> tuple[State, d.ReportFiled, list[d.Decision]]:
    """Settle what a report claims; its digest is a vote unless the run has gone back since."""
    before = state.ledger
    ledger, entries, void = _settle(state, member, report)
    voted = bool(report.metrics.digest) and not void and report.round < state.terms.total_rounds
    voted = voted and not quorum.known(state, member.id, report.round)
    told = report.round + 1 if voted and _is_of_this_process(state, member, report) else 0
    agreed = state.agreed_on(report.round) == report.metrics.digest
    back = bool(told and member.away)
    filed = d.ReportFiled(member.id, report, tuple(entries), voted, max(member.holds, told), agreed, back)
    used = [d.LeaseUsed(key) for key in before.held.get(member.id, ()) if key not in ledger.leases]
    counted = _counted_by(member.id, entries)
    member = replace(
        member,
        counted=member.counted + counted,
        paid=state.round if counted else member.paid,
        rejected=member.rejected + total(entry.range for entry in entries if entry.state == "rejected"),
        holds=filed.holds,
        away=None if back else member.away,
    )
    state = replace(state.with_member(member), ledger=ledger)
    state, more = quorum.voiced(state, member.id, report) if voted else (state, [])
    return state, filed, [*used, *more]


def _is_of_this_process(state: State, member: Member, report: RoundReport) -> bool:
    """Reports kept from an earlier process tell of a state that ended with it: they name only that one's leases. Who
    took part without samples names none; it is believed, or the run would go back behind its round.
    """
    claims = (*report.counted, *report.dropped)
    leases = [state.ledger.find(member.id, claim.lease) for claim in claims]
    return not claims or any(lease.number >= member.first_lease for lease in leases if lease)


def _settle(state: State, member: Member, report: RoundReport) -> tuple[Ledger, list[Entry], bool]:
    """The ledger after the report, what became of every range, and whether its round is none of the run's."""
    lost = _in_no_state(state, report) or grants.overruled(state, member.id, report) or divergence.void(state, report)
    ledger, entries, void = state.ledger, list[Entry](), bool(lost)
    for claim in report.counted:
        lease = ledger.find(member.id, claim.lease)
        back = ledger.undone_by(lease, report.round) if lease else None
        why = f"the run went back to round {back.round}" if back else lost
        void = void or bool(why)
        if lease and why:
            ledger, more = ledger.drop(member.id, report.round, claim, why)
        else:
            ledger, more = ledger.settle(member.id, report.round, claim)
        entries += more
    for claim in report.dropped:
        ledger, more = ledger.drop(member.id, report.round, claim, report.dropped_why)
        entries += more
    return ledger, entries, void


def _in_no_state(state: State, report: RoundReport) -> str:
    if report.round >= (rounds := state.terms.total_rounds):
        return f"the run ends with its {rounds} rounds"
    return "" if report.metrics.digest else "the report names no state that they are in"
