"""How far a member's updates are trusted: probation, spot checks, and the part that its invite has. Pure.

What is checked are statistics, so one bad answer proves nothing. The answers of each key, in all its seats, go through
Wald's sequential test (1945, Logbook of Mathematical Statistics 16(2), 117-186) between an honest member, which passes
a check with `HONEST`, and a cheater, which passes with `CHEATER`. A key that the test condemns is on probation again;
nobody is banned by it.
"""

from __future__ import annotations

from dataclasses import replace
from math import log

from coordinator import decisions as d
from coordinator.probation import Company, needed
from coordinator.records import Member, Trust
from coordinator.state import State, Step

HONEST, CHEATER = 0.95, 0.5  # how likely each is to pass a check: machines differ in their last bits, lines break
FALSELY, MISSED = 0.001, 0.05  # how often an honest one may be condemned in a test, and a cheater be taken for honest
CONDEMNED = log((1 - MISSED) / FALSELY)  # evidence from which on it is: after three bad answers in a row
CLEARED = log(MISSED / (1 - FALSELY))  # evidence from which on a test ends well, and another begins
HALF_LIFE = 7 * 86_400.0  # seconds in which evidence loses half of its weight: faults far apart are accidents


def of(state: State, key: str) -> Trust:
    """What is known of a key, by the id of its first seat; nothing of a new one."""
    return state.trust.get(key, Trust(key))


def checked(state: State, key: str, passed: bool, why: str, now: float) -> Step:
    """A spot check of one of the key's members ended; `why` says what was found wrong. The one entry for checks."""
    before = of(state, key)
    after = heard(before, passed, why, now, needed(state.terms, before))
    return _with(state, after, _sentence(before, after))


def heard(before: Trust, passed: bool, why: str, now: float, needed: int) -> Trust:
    """With one answer more; probation ends after `needed` clean ones in a row, 0 for never."""
    told = replace(
        before,
        evidence=faded(before, now) + says(passed),
        clean=before.clean + 1 if passed else 0,
        made=before.made + 1,
        at=max(before.at, now),
        why=before.why if passed else why,
    )
    return _judged(told, needed)


def condemned(state: State, key: str, why: str, now: float) -> Step:
    """Something else than spot checks condemned the key: its updates are on probation, as after those."""
    before = of(state, key)
    after = replace(
        before, evidence=0.0, clean=0, proven=False, condemned=before.condemned + 1, at=max(before.at, now), why=why
    )
    unless = ", but its maintainer trusts it" if before.trusted_by else ""
    return _with(state, after, f"{key} is on probation{unless}: {why}.")


def faded(trust: Trust, now: float) -> float:
    """What is left of its evidence at `now`."""
    return float(trust.evidence * 0.5 ** (max(0.0, now - trust.at) / HALF_LIFE))


def says(passed: bool) -> float:
    """By how much one answer speaks for a cheater."""
    return log(CHEATER / HONEST) if passed else log((1 - CHEATER) / (1 - HONEST))


def _judged(trust: Trust, needed: int) -> Trust:
    if trust.evidence >= CONDEMNED:
        return replace(trust, evidence=0.0, clean=0, proven=False, condemned=trust.condemned + 1)
    evidence = 0.0 if trust.evidence <= CLEARED else trust.evidence
    return replace(trust, evidence=evidence, proven=trust.proven or 0 < needed <= trust.clean)


def _sentence(before: Trust, after: Trust) -> str:
    if after.condemned > before.condemned:
        unless = ", but its maintainer trusts it" if after.trusted_by else " and is on probation again"
        return f"{after.key} failed too many spot checks{unless}; the last one found: {after.why}."
    if after.proven and not before.proven and after.made:
        return f"The probation of {after.key} is over: {after.clean} spot checks in a row found nothing."
    return ""


def named(state: State, key: str, name: str, by: str, why: str) -> Step:
    """A maintainer, with the invite of the id `by`, trusts the key or, with an empty `by`, no more; `name` is for
    people.
    """
    before = of(state, key)
    if (before.trusted_by, before.why) == (by, why or before.why):
        return state, []
    says = "trusts" if by else "trusts no more"
    sentence = f"The maintainer {says} {name} ({key}){f': {why}' if why else ''}."
    return _with(state, replace(before, trusted_by=by, why=why or before.why), sentence)


def _with(state: State, trust: Trust, sentence: str) -> Step:
    return state.with_trust(trust), [d.TrustChanged(trust, sentence)]


def share(state: State, member: Member) -> float:
    """What each of the member's samples weighs, 0 to 1: an equal part of its invite's weight, where that is limited."""
    if state.probation(member):
        return 0.0
    invite = state.invites.get(member.invite)
    if invite is None or not invite.weight:
        return 1.0
    return min(1.0, invite.weight / max(1, state.company.get(invite.id, Company()).weighing))


def no_lease(state: State, member: Member) -> str:
    """Why the member would compute in vain now; empty when it would not."""
    return stuck(state) if state.probation(member) else ""  # so only they take a look at all


def stuck(state: State) -> str:
    """Why no round can be made before the maintainer does something; empty when one can, or nobody is there."""
    live = [member for member in state.members.values() if member.live]
    if not live or any(not state.probation(member) for member in live):
        return ""
    return (
        "all members that are here are on probation, so that no update weighs anything: trust one of them "
        "(`swarm trust MEMBER`), or invite somebody whom you trust (`swarm invite new --role validator`)"
    )
