"""Which part of a swarm makes a round when no part has more than half of those who made the last one. Pure.

One part only: who asks first. It may change in part while it tries, as long as more than half of those stay who are
members still. When a later round is known, but nobody who lives holds a later state, the run goes back.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator import decisions as d
from coordinator import events as e
from coordinator.returning import beyond, go_back
from coordinator.state import State, Step

KEPT = 64  # rounds


def ask(state: State, event: e.AskRound) -> Step:
    """Grant the round to these members, or say why not."""
    made: list[d.Decision] = []
    if event.round < state.round:
        if event.round < state.latest.round or beyond(state, event.round):
            return state, [d.RoundDenied(event.round, f"the run is in round {state.round}")]
        state, made = go_back(state, event.round, event.members)
    before = state.grants.get(event.round, frozenset()) & {member.id for member in state.live}
    if before and 2 * len(before & event.members) <= len(before):
        return state, [d.RoundDenied(event.round, "another part of the swarm makes it")]
    granted = {**state.grants, event.round: event.members}
    state = replace(state, grants={key: granted[key] for key in sorted(granted)[-KEPT:]})
    return state, [*made, d.RoundGranted(event.round, event.members)]
