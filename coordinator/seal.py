"""Whether the run's SQLite file holds all that was acknowledged.

SQLite takes a write-ahead log that was cut off for a shorter one, and the commits behind the cut were never there. So
commits are numbered in the database, and a note beside it says which one was the newest.
"""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Connection

from swarm.errors import CorruptError
from swarm.sqlitefile import companions, flaw, read_only


class Seal:
    """Of the file `path`, whose note is `<path>.seal`.

    The note needs no care: it is written after the commit, and what is left of a torn number is a smaller one or none.
    It counts only beside a write-ahead log that a crash left: a file that was closed or put back from a copy has none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._note = path.with_name(f"{path.name}.seal")
        self._number = 0

    def open(self) -> None:
        """Raises CorruptError when the file is torn or lacks commits, sqlite3.Error when it cannot be read.

        What it holds counts from now on, also when a copy was put back that is older than the note.
        """
        log = companions(self._path)[0]
        least = self._noted() if log.exists() else 0
        if why := flaw(self._path):
            raise self._torn(why)
        if self._path.exists():
            self._number = self._numbered()
        if self._number < least:
            raise self._torn(f"{log.name} lost what came after commit {self._number}; {least} was acknowledged")
        self.committed()

    def number(self, connection: Connection) -> None:
        """Give the commit that `connection` is about to make its number."""
        self._number += 1
        connection.exec_driver_sql(f"PRAGMA user_version = {self._number}")

    def committed(self) -> None:
        """Note the commit that was made. It counts whether this succeeds or not."""
        with suppress(OSError):
            self._note.write_text(str(self._number))

    def _noted(self) -> int:
        with suppress(OSError, ValueError):
            return int(self._note.read_text())
        return 0

    def _numbered(self) -> int:
        with closing(read_only(self._path)) as file:
            return int(file.execute("PRAGMA user_version").fetchone()[0])

    def _torn(self, why: str) -> CorruptError:
        return CorruptError(
            f"{self._path} is torn or was altered: {why}; it is not used.", "Put back a copy with `swarm restore`."
        )
