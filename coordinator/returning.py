"""What was counted or lent becomes free: leases end, and a state that nobody holds is no part of the run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from immutables import Map

from coordinator import decisions as d
from coordinator.ledger import Lease
from coordinator.rounds import reached
from coordinator.state import State, Step

LOST = "no member holds a later one"


def go_back(state: State, to: int, spared: frozenset[str] = frozenset(), because: str = LOST) -> Step:
    """The run is in round `to` again; that is its latest checkpoint's or a later one. What the `spared` members, who
    hold that state, were lent stays lent to them.
    """
    ledger, undone = state.ledger.go_back(to, spared)
    made = d.WentBack(ledger.returns[-1], state.reported, tuple(undone), because)
    lost = Counter[str]()
    for entry in undone:
        lost[entry.member] += len(entry.range)
    less = [replace(state.members[key], counted=state.members[key].counted - count) for key, count in lost.items()]
    votes = Map({key: poll for key, poll in state.votes.items() if key < to})
    measured = {key: value for key, value in state.evaluations.items() if key <= to}
    granted = {key: value for key, value in state.grants.items() if key < to}
    waiting = [d.CheckpointDropped(it, made.why) for it in state.brought.values()]
    state = replace(state, ledger=ledger, votes=votes, reached=reached(votes), evaluations=measured)
    state = replace(state, offers={}, brought={})
    return replace(state, grants=granted).with_members(less), [made, *waiting]


def expire(state: State, leases: Iterable[Lease], why: str) -> Step:
    """End these open leases, in this order: what they still hold is free."""
    made: list[d.Decision] = []
    ledger, round_ = state.ledger, state.round
    for lease in leases:
        ledger, entries = ledger.expire(lease.id, round_, why)
        made.append(d.LeaseExpired(lease, tuple(entries), why))
    return replace(state, ledger=ledger), made
