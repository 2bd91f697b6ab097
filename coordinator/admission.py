"""The invites at work: every call is held against them, and maintainers make and revoke them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import grpc

from coordinator import events as e
from coordinator.engine import Engine
from coordinator.invites import admitted, hashed
from coordinator.records import IssuedInvite
from swarm.errors import NotFoundError, UsageError
from swarm.invite import TOKEN_BYTES
from swarm.passes import Role

_DAY = 86_400.0  # seconds
_MOST_DAYS = 3650.0
_BEARER = "Bearer "
LONGEST_SESSION = 64  # characters


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def sent_with(context: grpc.ServicerContext) -> dict[str, str]:
    """A call's metadata."""
    return {key: str(value) for key, value in context.invocation_metadata()}


def session_of(context: grpc.ServicerContext) -> str:
    """The name that the calling process gave itself."""
    return sent_with(context).get("swarm-session", "")[:LONGEST_SESSION]


def _token(context: grpc.ServicerContext) -> str:
    return sent_with(context).get("authorization", "").removeprefix(_BEARER)


class Admission:
    """`own_token` is that of the coordinator's machine: a maintainer's, in no table, and another one at each start."""

    def __init__(self, engine: Engine, own_token: str, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._own = IssuedInvite(hashed(own_token), Role.MAINTAINER, clock(), note="the coordinator's machine")

    def caller(self, context: grpc.ServicerContext) -> IssuedInvite:
        """The invite that a call came with. Raises InviteUnknownError, InviteRevokedError, InviteExpiredError."""
        known = {**self._engine.state.invites, self._own.id: self._own}
        return admitted(known, _token(context), self._clock())

    def name(self, context: grpc.ServicerContext) -> str:
        """The id of the invite that a call came with, also of one that lets nobody in; empty for an unknown one."""
        found = self.of(hashed(_token(context))[:8])
        return found.id if found else ""

    def of(self, id_: str) -> IssuedInvite | None:
        """The invite of that id."""
        return self._own if id_ == self._own.id else self._engine.state.invites.get(id_)

    def keep(self, token: str, note: str) -> None:
        """Make the run's first invite, for volunteers and without an end, unless it was made before."""
        self._engine.apply(e.MakeInvite(IssuedInvite(hashed(token), Role.VOLUNTEER, self._clock(), note=note)))

    def make(self, role: str, days: float, note: str, limits: tuple[int, float]) -> tuple[str, IssuedInvite]:
        """A new token, which is kept nowhere, and its invite; 0 days: without an end. `limits`: its slots and weight.
        Raises UsageError.
        """
        if role not in set(Role):
            raise UsageError(f"There is no role {role!r}.", f"Roles are {', '.join(Role)}.")
        if not 0 <= days <= _MOST_DAYS:
            raise UsageError(f"An invite cannot end in {days:g} days.", f"Take 0 (no end) to {_MOST_DAYS:.0f} days.")
        token, now = new_token(), self._clock()
        made = IssuedInvite(hashed(token), Role(role), now, now + days * _DAY if days else 0.0, 0.0, note, *limits)
        self._engine.apply(e.MakeInvite(made))
        return token, made

    def revoke(self, id_: str) -> IssuedInvite:
        """Take an invite back; its members are refused from now on. Raises NotFoundError."""
        if id_ not in self._engine.state.invites:
            raise NotFoundError(f"The run has no invite {id_!r}.", "`swarm invite list` shows all.")
        self._engine.apply(e.RevokeInvite(id_))
        return self._engine.state.invites[id_]

    def made(self) -> list[tuple[IssuedInvite, int]]:
        """All invites, the oldest first, each with the number of live members that joined with it."""
        state = self._engine.state
        using = [member.invite for member in state.live]
        return [(found, using.count(found.id)) for found in sorted(state.invites.values(), key=lambda it: it.made_at)]
