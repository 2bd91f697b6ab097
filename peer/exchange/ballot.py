"""What a member gave its vote to. It outlives the process: a vote that is forgotten could be given twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from swarm import notes
from swarm.errors import from_os_error
from swarm.texts import whole_number

UNKNOWN = 1 << 62  # later than every round: a torn note may have named any
_DIGITS = 18  # of every round that is kept


class Ballot:
    """`round` is the latest one whose state this member may have made with others, or an earlier process of it did.

    It is on disk before a commit is sent (the version number of Jajodia and Mutchler 1990, section 3).
    """

    def __init__(self, round_: int = 0, keep: Callable[[int], None] = lambda _: None) -> None:
        self.round = round_
        self._keep = keep

    @classmethod
    def of(cls, path: Path) -> Ballot:
        """The one of the member that works in this folder. The note has the same length for every round and is written
        in its place: a disk that has become full since takes it all the same. Raises OSError.
        """
        line = notes.kept(path)
        round_ = whole_number(line, UNKNOWN) if path.exists() else 0
        if len(line) != _DIGITS and round_ != UNKNOWN:
            notes.keep(path, _line(round_))
        return cls(round_, partial(_write, path))

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


def _write(path: Path, round_: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.pwrite(file, f"{_line(round_)}\n".encode(), 0)
        os.ftruncate(file, _DIGITS + 1)
        os.fsync(file)
    finally:
        os.close(file)


def _line(round_: int) -> str:
    return f"{round_:0{_DIGITS}d}"
