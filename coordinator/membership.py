"""Who may speak as a member: of its processes only the one that joined last, while the membership lasts. Pure."""

from __future__ import annotations

from dataclasses import replace

from coordinator import bans
from coordinator import decisions as d
from coordinator import events as e
from coordinator.records import Absence, Member
from coordinator.returning import expire
from coordinator.state import State, Step
from swarm.errors import RefusedError, from_code

_AGAIN = "Join again."


def refusal(state: State, member_id: str, session: str) -> d.Refused | None:
    """Why the process `session` does not speak for this member; None when it does."""
    if banned := bans.refusal(state, member_id):
        return banned
    member = state.members.get(member_id)
    if member is None or not member.live:
        return d.Refused("This membership has ended, or was never one.", _AGAIN)
    if member.session != session:
        return d.Refused("Another process with this identity has this membership now.", _AGAIN)
    return None


def require(state: State, member_id: str, session: str, invite: str) -> Member:
    """The member for which the process `session` speaks, which joined with that invite. Raises RefusedError."""
    if why := refusal(state, member_id, session):
        raise from_code(why.code, why.what, why.remedy)
    member = state.members[member_id]
    if member.invite != invite:  # else a member would outlive the revocation of the invite that let it in
        raise RefusedError("This membership began with another invite.", _AGAIN)
    return member


def absence(before: Member | None, event: e.Join, now: float) -> Absence | None:
    """How long who joins was away, by its own word, if the others were told that it went. The coordinator may not have
    heard of that: then since its last sign of life.
    """
    if before is None or not event.left_in or (before.away and before.away.round == event.left_in):
        return before.away if before else None
    return Absence(event.left_in, before.last_seen, now)


def end(state: State, member: Member, why: str, silent: bool = False) -> Step:
    """What its leases still hold is free."""
    gone = replace(member, live=False, holds=0, left=why)
    state, made = state.with_member(gone), [d.MemberLeft(gone, why, silent)]
    state, expired = expire(state, state.ledger.held_by(member.id), f"{member.name} left")
    return state, [*made, *expired]
