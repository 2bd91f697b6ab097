"""What a process notes for the next one in its folder: its session, and that it said goodbye to the other members."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swarm import notes

NOTE = "session"


@dataclass(frozen=True)
class Before:
    """The process that had a folder before; its `session` is empty when that is not known. `left_in` is the round in
    which it said goodbye, after which nobody waits for it; 0 when it did not.
    """

    session: str = ""
    left_in: int = 0


def before(folder: Path) -> Before:
    """What the last process noted. Raises OSError."""
    match notes.kept(folder / NOTE).split(" "):
        case [session, left_in] if left_in.isdecimal():
            return Before(session, int(left_in))
        case [session]:
            return Before(session)
    return Before()


def begun(folder: Path, session: str) -> None:
    """This process has the folder now. Raises OSError."""
    notes.keep(folder / NOTE, session)


def left(folder: Path, session: str, round_: int) -> None:
    """It is about to say goodbye, with θ_round_. Raises OSError."""
    notes.keep(folder / NOTE, f"{session} {round_}")
