"""Badges of a volunteer: for rounds and nights. Pure."""

from __future__ import annotations

from coordinator.logbook import Work

_ROUNDS = (1, 10, 100, 1_000, 10_000, 100_000)
_NIGHTS = (1, 7, 30, 100, 365)


def badges(work: Work) -> list[str]:
    """The highest that was reached of each kind."""
    return [*_reached(work.rounds, _ROUNDS, "round"), *_reached(work.nights, _NIGHTS, "night")]


def _reached(count: int, steps: tuple[int, ...], what: str) -> list[str]:
    return [f"{step:,} {what}{'s' if step > 1 else ''}" for step in steps if step <= count][-1:]
