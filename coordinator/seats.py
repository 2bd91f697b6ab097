"""Which seat a joining process gets: an identity may be on several machines, and each of its processes is a member of
its own. Pure.
"""

from __future__ import annotations

from coordinator import events as e
from coordinator.state import State
from swarm.identity import SEATS, member_id


def seat_for(state: State, event: e.Join) -> tuple[str, str]:
    """The member id for the process that joins, and why it is not the one it asked for; "" when all seats are taken.

    A process of the same session, or one that replaces it, goes on as the member that it was.
    """
    if not _taken(state, event, event.member):
        return event.member, ""
    other = state.members[event.member].name
    for number in range(SEATS):
        if not _taken(state, event, found := member_id(event.public_key, number)):
            return found, f"this identity is also at work as {event.member} ({other}); here it has a seat of its own"
    return "", f"all {SEATS} seats of this identity are taken"


def _taken(state: State, event: e.Join, member_id: str) -> bool:
    """Whether another process, which was heard of since the coordinator started, sits there."""
    member = state.members.get(member_id)
    return (
        member is not None
        and member.live
        and member.heard
        and member.session not in (event.session, event.replaces or event.session)
    )
