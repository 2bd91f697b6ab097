"""Whether a SQLite file is whole. SQLite itself notices damage only where it happens to read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def flaw(path: Path) -> str:
    """Why the file must not be used; empty when it is whole, or not there. All of it is read, nothing is changed.

    An empty file is flawed: SQLite would take it for a new database. Raises sqlite3.Error when it cannot be read.
    """
    if not path.exists():
        return ""
    if path.stat().st_size == 0:
        return "it is empty"
    try:
        with closing(read_only(path)) as file:
            return _flaw(file, path.stat().st_size)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return str(error)


def _flaw(file: sqlite3.Connection, size: int) -> str:
    """SQLite itself reads zeros behind the end of a last page that was cut off."""
    [page] = file.execute("PRAGMA page_size").fetchone()
    [found] = file.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        return " ".join(str(found).split())
    return "its last page was cut off" if size % page else ""


def read_only(path: Path, more: str = "", wait: float = 5.0) -> sqlite3.Connection:
    """A connection that changes nothing, also not by moving the write-ahead log into the file at its end. `more` are
    parameters of SQLite's, `wait` seconds are for whoever has the file locked.
    """
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro{more}", uri=True, timeout=wait)


def code(error: BaseException | None) -> int:
    """What SQLite says went wrong, in its primary codes; 0 when it does not say."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite says that its file is torn or no database."""
    return code(error) in _DAMAGED


def companions(path: Path) -> list[Path]:
    """The files that SQLite may keep beside it."""
    return [path.with_name(f"{path.name}{ending}") for ending in ("-wal", "-shm", "-journal")]
