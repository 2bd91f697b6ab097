"""Whom the maintainer lets in no more, and who must be told so. Pure.

A ban is of a key, in all its seats; an invite is banned by revoking it (coordinator.invites).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from coordinator import decisions as d
from coordinator.records import Ban
from coordinator.state import State
from swarm.errors import BannedError, NotFoundError, UsageError
from swarm.identity import key_of
from swarm.passes import LIFETIME

# Seconds from a member's last sign of life in which its pass might count: a process that has just begun counts those
# that were valid a pass' lifetime ago (`swarm.papers.Hearing`), and clocks differ.
LIVES = 2 * LIFETIME + 180.0
_SHORTEST = 4  # letters of the beginning of an id
_SEES = "`swarm peers` shows all."


def refusal(state: State, member_id: str) -> d.Refused | None:
    """What a banned member is told; None when it is not banned."""
    ban = state.bans.get(key_of(member_id))
    if ban is None:
        return None
    on = f"{datetime.fromtimestamp(ban.banned_at, UTC):%Y-%m-%d %H:%M} UTC"
    return d.Refused(
        f"The maintainer banned this key ({ban.key}) from the run on {on}: {ban.why}.",
        "Ask the run's maintainer. What it contributed stays counted.",
        BannedError.code,
    )


def with_barred(state: State) -> State:
    """With those whose passes count no more although they may not have expired: banned, or their invite revoked."""
    gone = {
        member.id: member.last_seen + LIVES
        for member in state.members.values()
        if member.key in state.bans or ((found := state.invites.get(member.invite)) is not None and found.revoked_at)
    }
    return replace(state, barred=gone)


def barred(state: State, now: float) -> list[str]:
    """Whom members shall drop at once, whatever passes they show."""
    return sorted(key for key, until in state.barred.items() if now < until)


def member_named(state: State, text: str) -> tuple[str, str]:
    """Key and name of the one member, or of one of the seats, that `text` means. Raises NotFoundError, UsageError."""
    return _one(text, [(member.key, member.id, member.name) for member in state.members.values()], "member")


def ban_named(state: State, text: str) -> str:
    """The key of the ban that `text` means. Raises NotFoundError, UsageError."""
    return _one(text, [(ban.key, ban.key, ban.name) for ban in state.bans.values()], "ban of a member")[0]


def _one(text: str, known: Iterable[tuple[str, str, str]], kind: str) -> tuple[str, str]:
    """Names are the members' own, so one that is somebody else's, or another's id, never decides."""
    fits = {
        key: name
        for key, id_, name in known
        if text in (id_, name) or (len(text) >= _SHORTEST and id_.startswith(text))
    }
    if text in fits:  # a whole id can mean nobody else
        return text, fits[text]
    if not fits:
        raise NotFoundError(f"The run has no {kind} {text!r}.", f"Name an id, its beginning, or a name; {_SEES}")
    if len(fits) > 1:
        listed = ", ".join(f"{key} ({name})" for key, name in sorted(fits.items()))
        raise UsageError(f"{text!r} may mean {listed}.", f"Name one by its id; {_SEES}")
    return fits.popitem()


def banned(state: State, key: str, name: str, why: str, now: float) -> tuple[State, list[d.Decision]]:
    """With the key banned; the same reason again changes nothing."""
    before = state.bans.get(key)
    if before is not None and before.why == why:
        return state, []
    ban = Ban(key, name, why, before.banned_at if before else now)
    return replace(state, bans={**state.bans, key: ban}), [d.MemberBanned(ban)]


def lifted(state: State, key: str) -> tuple[State, list[d.Decision]]:
    """With the key let in again; one that is not banned changes nothing."""
    ban = state.bans.get(key)
    if ban is None:
        return state, []
    kept = {other: value for other, value in state.bans.items() if other != key}
    return with_barred(replace(state, bans=kept)), [d.MemberUnbanned(ban)]
