"""Spot checks: what is kept of those that are open, and what is said of one that ended. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.records import Member


@dataclass(frozen=True)
class SpotCheck:
    """One member shall look at the work of another, in a round that began not before `since`; until `deadline` (Unix
    seconds). `id` is drawn, and what is drawn for the check follows from it.
    """

    id: str
    member: str
    since: int
    deadline: float


@dataclass(frozen=True)
class Watch:
    """What a checker does: its open check, and the round in which it was last drawn whom it watches."""

    drawn: int = -1
    check: SpotCheck | None = None


@dataclass(frozen=True)
class SpotChecked:
    """A checker looked at what a member did in a round; `passed` is None when nothing can be said."""

    member: Member
    checker: Member
    round: int
    passed: bool | None
    why: str

    def __str__(self) -> str:
        ended = {True: "passed", False: "failed", None: "could not be finished"}[self.passed]
        who = f"{self.member.name} ({self.member.id})"
        return f"The spot check of {who} in round {self.round} by {self.checker.name} {ended}: {self.why}."
