"""Who may call: the invites that were made, their roles, and their ends. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from coordinator import decisions as d
from coordinator import events as e
from coordinator.probation import Company
from coordinator.records import IssuedInvite
from coordinator.state import State, Step
from swarm.errors import InviteExpiredError, InviteFullError, InviteRevokedError, InviteUnknownError, RefusedError
from swarm.passes import Role


def hashed(token: str) -> str:
    """What is kept of a token, hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def admitted(invites: Mapping[str, IssuedInvite], token: str, now: float) -> IssuedInvite:
    """The invite that `token` belongs to. Raises InviteUnknownError, InviteRevokedError, InviteExpiredError."""
    digest = hashed(token)
    found = invites.get(digest[:8])
    if found is None or not hmac.compare_digest(found.token_sha256, digest):
        raise InviteUnknownError(
            "This coordinator never made this invite: its token is not known.",
            "Copy the whole invite again; if it stays so, ask the maintainer for a new one.",
        )
    if found.revoked_at:
        raise InviteRevokedError(
            f"The maintainer revoked this invite ({found.id}) on {_date(found.revoked_at)}.",
            "Ask the maintainer for a new one. What it contributed stays counted, but for a state that it alone held.",
        )
    if found.expires_at and now >= found.expires_at:
        raise InviteExpiredError(
            f"This invite ({found.id}) expired on {_date(found.expires_at)}.", "Ask the maintainer for a new one."
        )
    return found


def full(state: State, id_: str, seat: str) -> d.Refused | None:
    """What one more member with the invite is told, in that seat; None when there is a place for it."""
    invite = state.invites.get(id_)
    there = state.members.get(seat)
    others = state.company.get(id_, Company()).live - bool(there and there.live and there.invite == id_)
    if invite is None or not invite.slots or others < invite.slots:
        return None
    places = "1 member" if invite.slots == 1 else f"{invite.slots} members"
    return d.Refused(
        f"{invite} is for {places} at a time, and so many are at work.",
        "Join when one of them has left, or ask the maintainer for another invite.",
        InviteFullError.code,
    )


def require(invite: IssuedInvite, role: Role) -> None:
    """Raises RefusedError when the invite is not one of that role."""
    if invite.role is not role:
        raise RefusedError(
            f"This takes the invite of a {role}; this one is for a {invite.role}.",
            "Use a maintainer's invite, or run the command on the coordinator's machine.",
        )


def make(state: State, event: e.MakeInvite) -> Step:
    """Keep a new invite; the same again changes nothing."""
    invite = event.invite
    if invite.id in state.invites:
        return state, []
    return replace(state, invites={**state.invites, invite.id: invite}), [d.InviteMade(invite)]


def revoke(state: State, event: e.RevokeInvite, now: float) -> Step:
    """Nobody gets in with it any more; the same again changes nothing."""
    invite = state.invites[event.id]
    if invite.revoked_at:
        return state, []
    revoked = replace(invite, revoked_at=now)
    return replace(state, invites={**state.invites, invite.id: revoked}), [d.InviteRevoked(revoked)]


def _date(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
