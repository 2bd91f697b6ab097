"""What spot checks said of a member's key. Pure."""

from __future__ import annotations

from dataclasses import replace

from coordinator.records import Trust
from coordinator.state import State, Step


def of(state: State, key: str) -> Trust:
    """What is known of a key, by the id of its first seat; nothing of a new one."""
    return state.trust.get(key, Trust(key))


def checked(state: State, key: str, passed: bool, why: str, now: float) -> Step:
    """A spot check of one of the key's members ended; `why` says what was found."""
    del why, now  # this stand-in only counts
    before = of(state, key)
    after = replace(before, clean=before.clean + 1 if passed else 0, made=before.made + 1)
    return replace(state, trust=state.trust.set(key, after)), []
