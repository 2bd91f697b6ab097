"""What a member gave its vote to. It outlives the process: a vote that is forgotten could be given twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from swarm import notes
from swarm.errors import from_os_error

UNKNOWN = 1 << 62  # later than every round: a torn note may have named any


class Ballot:
    """`round` is the latest one whose state this member may have made with others, or an earlier process of it did.

    It is on disk before a commit is sent (the version number of Jajodia and Mutchler 1990, section 3).
    """

    def __init__(self, round_: int = 0, keep: Callable[[int], None] = lambda _: None) -> None:
        self.round = round_
        self._keep = keep

    @classmethod
    def of(cls, path: Path) -> Ballot:
        """The one of the member that works in this folder. Raises OSError."""
        line = notes.kept(path)
        return cls(_number(line) if path.exists() else 0, lambda round_: notes.keep(path, str(round_)))

    def cast(self, round_: int) -> None:
        """From now on θ_round_ may be made with this member's update. Raises DiskError: then it must not be."""
        try:
            self._keep(round_)
        except OSError as error:
            raise from_os_error(error, "keeping this member's vote on a round") from error
        self.round = round_

    def take_back(self, round_: int) -> None:
        """That was not made: this member still works on the round before it."""
        self.round = round_ - 1


def _number(line: str) -> int:
    return int(line) if line.isascii() and line.isdecimal() and len(line) < 19 else UNKNOWN
