"""What became of this peer's samples, as its coordinator says it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Standing:
    """What the coordinator said about this peer's samples."""

    counted: int = 0
    rejected: int = 0
    why: str = ""
    before: int = 0  # counted in earlier joins
    unheard: int = 0  # in reports that the coordinator has not answered yet
    share: float = 1.0  # what each sample weighs that is lent now
    probation: str = ""  # why that is nothing
