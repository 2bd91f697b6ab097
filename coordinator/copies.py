"""A run's tables as they were at one moment, also while a coordinator writes them (SQLite's online backup)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from swarm.errors import CorruptError, DiskError, NotFoundError, SwarmError
from swarm.sqlitefile import code, companions, read_only

FILE = "coordinator.sqlite"
_WAIT_SECONDS = 10.0  # for whoever has the database locked; a writer of ours takes milliseconds


def to_file(tables: Path, target: Path) -> None:
    """Write a copy that is one file: no log beside it. Raises NotFoundError, CorruptError, DiskError."""
    with _in_our_words(tables), closing(_opened(tables)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")


def in_memory(tables: Path) -> sqlite3.Connection:
    """A copy that nobody changes, whole as far as SQLite can tell. Raises NotFoundError, CorruptError, DiskError."""
    copy = sqlite3.connect(":memory:")
    with _in_our_words(tables), closing(_opened(tables)) as source:
        source.backup(copy)
        said = [row[0] for row in copy.execute("PRAGMA integrity_check(5)")]
    if said != ["ok"]:
        raise _torn(tables, "; ".join(said))
    return copy


def checkpoints(tables: Path) -> list[str]:
    """The SHA-256s of the checkpoints' files, the newest first. Raises NotFoundError, CorruptError, DiskError."""
    with _in_our_words(tables), closing(_opened(tables)) as source:
        return [row[0] for row in source.execute("SELECT sha256 FROM checkpoints ORDER BY round DESC")]


def latest(tables: Path) -> tuple[int, str]:
    """Round and state digest of the latest checkpoint. Raises NotFoundError, CorruptError, DiskError."""
    newest = "SELECT round, digest FROM checkpoints ORDER BY round DESC LIMIT 1"
    with _in_our_words(tables), closing(_opened(tables)) as source:
        return next(((int(row[0]), str(row[1])) for row in source.execute(newest)), (0, ""))


def reached(tables: Path) -> int:
    """The round that the run is in. Raises NotFoundError, CorruptError, DiskError."""
    with _in_our_words(tables), closing(_opened(tables)) as source:
        columns = [row[1] for row in source.execute("PRAGMA table_info(votes)")]
        which = "WHERE agreed" if "agreed" in columns else ""  # an earlier version believed every word
        rounds = f"SELECT max(round) + 1 FROM votes {which} UNION SELECT max(round) FROM checkpoints"
        return max((row[0] for row in source.execute(rounds) if row[0] is not None), default=0)


def _opened(tables: Path) -> sqlite3.Connection:
    """For reading. Where the folder cannot be written, SQLite cannot make its files beside the database; without a log
    nobody writes it, and it is read as it lies.
    """
    if not tables.exists():
        raise NotFoundError(f"There is no {tables}.", "Name the folder of a run that was launched.")
    try:
        return _connected(tables)
    except sqlite3.OperationalError:
        if companions(tables)[0].exists():
            raise
        return _connected(tables, "&immutable=1")


def _connected(tables: Path, more: str = "") -> sqlite3.Connection:
    connection = read_only(tables, more, _WAIT_SECONDS)
    connection.execute("PRAGMA schema_version")  # reads the file: an error comes here
    return connection


@contextmanager
def _in_our_words(tables: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(tables, error) from error


def _translated(tables: Path, error: sqlite3.Error) -> SwarmError:
    if code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return DiskError(f"The disk is full or fails while {tables} is copied.", "Free some space; nothing is lost.")
    if code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return DiskError(f"{tables} cannot be read: {error}.", "Look at the folder's permissions.")
    if code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SwarmError(f"{tables} is in use by another program: {error}.", "Try again in a moment.")
    return _torn(tables, str(error))


def _torn(tables: Path, why: str) -> CorruptError:
    return CorruptError(f"{tables} is damaged: {why}.", "Restore a backup with swarm restore.")
