"""After a copy was restored: members name the leases that it does not know, and get them back. Pure.

Only what is free is lent again, so nothing counts twice. A member that lies gains no more than by asking for leases.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator import decisions as d
from coordinator import events as e
from coordinator.ledger import Entry, Lease, Ledger, Recalled, number_of
from coordinator.records import Member
from coordinator.state import State, Step

_GIVEN_BACK = "given back after the copy was made that was restored"


def recall(state: State, member: Member, event: e.Recall, now: float) -> Step:
    """Lend again what of these leases is unknown and free; of known ones free what is not held any more."""
    ledger, known = state.ledger, {lease.number for lease in state.ledger.leases.values()}
    lent, entries, deadline = list[Lease](), list[Entry](), now + state.terms.lease_seconds
    for found in event.leases:
        if (number := number_of(found.lease)) in known or number in ledger.closed:
            ledger, more = _keep(ledger, member.id, found, state.round)
            entries += more
        elif again := ledger.recall(member.id, found, state.round, deadline):
            ledger, lease, more = again
            known.add(lease.number)
            lent.append(lease)
            entries += more
    if not lent and not entries:
        return state, []
    first = min([member.first_lease, *(lease.number for lease in lent)])
    due = min(state.due, deadline)
    state = replace(state, ledger=ledger, due=due).with_member(replace(member, first_lease=first))
    return state, [d.LeasesRecalled(member.id, first, tuple(lent), tuple(entries))]


def _keep(ledger: Ledger, member: str, found: Recalled, round_: int) -> tuple[Ledger, list[Entry]]:
    lease = ledger.leases.get(found.lease)
    if lease is None or lease.member != member:
        return ledger, []
    return ledger.expire(lease.id, round_, _GIVEN_BACK, found.held)


def unsettled(state: State, now: float) -> str:
    """Why nothing is lent yet; empty when it is."""
    if now >= state.settled:
        return ""
    seconds = state.settled - now
    return f"the coordinator was restored from a copy; for {seconds:.0f} s more members say what it does not know"
