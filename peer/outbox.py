"""What the coordinator has not acknowledged yet: kept on disk, sent again until it is.

SQLite (stdlib), synced with its folder: what is in the box survives a crash of the program and of the machine. It has
no write-ahead log: one that was cut off could not be told from a shorter one.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from swarm.sqlitefile import companions, flaw

REPORT = "report"
CHECKPOINT = "checkpoint"
EVALUATION = "evaluation"


@dataclass(frozen=True)
class Item:
    """One thing to send: a serialized RoundReport, Checkpoint or Evaluation."""

    id: int
    kind: str
    body: bytes


class Outbox:
    """A durable first-in first-out box, usable from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def open(self) -> str:
        """Open or create the box. A torn file is set aside, and an empty box takes its place; says so, else nothing.

        Raises OSError or sqlite3.Error when the folder cannot be written.
        """
        aside = self._set_aside(why) if (why := flaw(self._path)) else ""
        self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.execute("PRAGMA synchronous=EXTRA")
        self._db.execute("CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY, kind TEXT, body BLOB)")
        return aside

    def _set_aside(self, why: str) -> str:
        """Its journal must not be taken for that of the file that comes in its place."""
        aside = self._path.with_name(f"{self._path.name}.torn")
        for path, new in zip([self._path, *companions(self._path)], [aside, *companions(aside)], strict=True):
            if path.exists():
                path.replace(new)
        return (
            f"{self._path.name} is torn or was altered ({why}) and was set aside as {aside}: reports that the "
            "coordinator had not heard yet may be lost. A new one was begun."
        )

    def put(self, kind: str, body: bytes) -> None:
        """Keep `body` until it is removed; on disk when this returns. Raises RuntimeError when the box is closed."""
        if self._db is None:
            raise RuntimeError("the outbox is not open")
        self._run("INSERT INTO outbox (kind, body) VALUES (?, ?)", (kind, body))

    def first(self, count: int) -> list[Item]:
        """The oldest `count` items."""
        return [Item(*row) for row in self._run("SELECT id, kind, body FROM outbox ORDER BY id LIMIT ?", (count,))]

    def remove(self, items: list[Item]) -> None:
        """Forget acknowledged items."""
        for item in items:
            self._run("DELETE FROM outbox WHERE id = ?", (item.id,))

    def __len__(self) -> int:
        return sum(int(row[0]) for row in self._run("SELECT COUNT(*) FROM outbox"))

    def close(self) -> None:
        """Close the file. What is asked later finds an empty box: who still sends at the end of a join stops there, and
        what was not removed is sent again at the next one.
        """
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _run(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[int, str, bytes]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall() if self._db is not None else []
