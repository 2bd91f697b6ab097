"""A database's errors in the project's words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from swarm.errors import CorruptError, DiskError, SwarmError
from swarm.sqlitefile import code, is_damage


@contextmanager
def in_our_words() -> Iterator[None]:
    """Raises CorruptError, DiskError, SwarmError for what goes wrong in the block."""
    try:
        yield
    except DBAPIError as error:
        raise _translated(error.orig) from error
    except sqlite3.Error as error:
        raise _translated(error) from error


def _translated(error: BaseException | None) -> SwarmError:
    state = getattr(error, "sqlstate", None)
    if is_damage(error):
        return CorruptError(
            f"The run's database, coordinator.sqlite, is torn or was altered: {error}.",
            "Stop the coordinator, and put back a copy with `swarm restore`.",
        )
    if code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or state == "53100":
        return DiskError(
            "The disk is full or fails; the coordinator could not write.",
            "Free some space; nothing acknowledged is lost.",
        )
    if code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return DiskError(f"The run's database cannot be written: {error}.", "Check the folder given with --data-dir.")
    return SwarmError(
        f"The run's database failed: {error}.", "Look at the coordinator's log; nothing acknowledged is lost."
    )
