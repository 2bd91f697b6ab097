"""A volunteer's own page: what became of its samples, and what it did. Nothing of others. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator import trust
from coordinator.logbook import Line, Work
from coordinator.records import Member
from coordinator.state import State
from coordinator.web.facts import Facts, credit, number


def of(state: State, seats: Sequence[Member], lines: Sequence[Line], work: Work) -> Facts:
    """`seats` are all members of one key, at least one; `lines` what the ledger says of them, the latest first."""
    ban = state.bans.get(seats[0].key)
    return {
        "name": seats[0].name,
        "id": seats[0].key,
        "banned": ban.why if ban else "",
        "counted": sum(max(0, seat.counted) for seat in seats),
        "pending": sum(state.ledger.pending(seat.id) for seat in seats),
        "rejected": sum(seat.rejected for seat in seats),
        "seats": [_seat(state, seat) for seat in seats],
        "lines": [[line.round, line.state, line.samples, line.why] for line in lines],
        **credit(work),
    }


def _seat(state: State, seat: Member) -> Facts:
    """One process: here, or why not."""
    here = {"phase": seat.pulse.phase, "why": seat.pulse.why, "rate": number(seat.pulse.samples_per_second)}
    gone = {"phase": "", "why": seat.left, "rate": 0}
    weighs = {"probation": state.probation(seat), "share": number(trust.share(state, seat))}
    return {"id": seat.id, "live": seat.live, **(here if seat.live else gone), **weighs}
