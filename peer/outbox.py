"""What the coordinator has not acknowledged yet: kept on disk, sent again until it is. And the newest of what it has: a
coordinator that is restored from a copy must hear again what came after the copy.

SQLite (stdlib), synced with its folder: what is in the box survives a crash of the program and of the machine. It has
no write-ahead log: one that was cut off could not be told from a shorter one.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from swarm import log
from swarm.errors import CorruptError, DiskError
from swarm.sqlitefile import companions, flaw
from swarm.tensorfile import state_digest

logger = log.get(__name__)

REPORT = "report"
AGAIN = "again"  # a report that was acknowledged before
CHECKPOINT = "checkpoint"
EVALUATION = "evaluation"
LEASE = "lease"  # one that this process works on; only remembered
VOID = "void"  # one that it does not work on any more; only remembered

_REMEMBERED = 2000  # a minute of the quickest rounds, hours of common ones
_TABLES = ("outbox", "told")


@dataclass(frozen=True)
class Item:
    """One thing to send or to remember: a serialized RoundReport, Checkpoint, Evaluation or LeasedRange."""

    id: int
    kind: str
    body: bytes


class Outbox:
    """A durable first-in first-out box, usable from several threads. What a full disk does not take waits in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._waiting: list[tuple[str, bytes]] = []
        self._db: sqlite3.Connection | None = None

    def open(self) -> str:
        """Open or create the box. A torn file is set aside, and an empty box takes its place; says so, else nothing.

        Raises OSError or sqlite3.Error when the folder cannot be written.
        """
        aside = self._set_aside(why) if (why := flaw(self._path)) else ""
        self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.execute("PRAGMA synchronous=EXTRA")
        for table in _TABLES:
            self._db.execute(f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, kind TEXT, body BLOB)")
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
        """Keep `body` until it is removed; on disk when this returns, unless that is full. Raises RuntimeError when the
        box is closed.
        """
        if self._db is None:
            raise RuntimeError("the outbox is not open")
        with self._lock, _noted():
            self._waiting.append((kind, body))
            self._settle()

    def _settle(self) -> None:
        """Write what waits in memory, all or nothing. Raises DiskError."""
        with self._lock:
            if self._db is None:
                return
            self._change(("INSERT INTO outbox (kind, body) VALUES (?, ?)", self._waiting))
            self._waiting.clear()

    def first(self, count: int, size: float = math.inf) -> list[Item]:
        """The oldest `count` items, or as many of them as have `size` bytes together; one in any case. Raises DiskError
        when there is no room for what waits in memory.
        """
        if self._waiting:
            self._settle()
        items = self._items("SELECT id, kind, body FROM outbox ORDER BY id LIMIT ?", (count,))
        sizes = accumulate(len(item.body) for item in items)
        return [item for item, together in zip(items, sizes, strict=True) if item is items[0] or together <= size]

    def remove(self, items: list[Item]) -> None:
        """Send these no more: they were acknowledged. Checkpoints are forgotten, the others remembered.

        Raises DiskError: then they are all sent again.
        """
        kinds = {REPORT: REPORT, AGAIN: REPORT, EVALUATION: EVALUATION}
        told = [(kinds[item.kind], item.body) for item in items if item.kind in kinds]
        self._change(
            ("INSERT INTO told (kind, body) VALUES (?, ?)", told),
            ("DELETE FROM told WHERE id <= (SELECT MAX(id) FROM told) - ?", [(_REMEMBERED,)]),
            ("DELETE FROM outbox WHERE id = ?", [(item.id,) for item in items]),
        )

    def put_back(self, items: list[Item]) -> None:
        """They wait behind all others, under new ids. Raises DiskError."""
        self._change(
            ("INSERT INTO outbox (kind, body) VALUES (?, ?)", [(item.kind, item.body) for item in items]),
            ("DELETE FROM outbox WHERE id = ?", [(item.id,) for item in items]),
        )

    def newest(self) -> int:
        """The id of what was put last of all that waits; 0 when nothing does. Raises DiskError, as `first`."""
        if self._waiting:
            self._settle()
        return int(self._run("SELECT COALESCE(MAX(id), 0) FROM outbox")[0][0]) if self._db is not None else 0

    def remember(self, lease: bytes) -> None:
        """Keep in mind what was leased, if the disk takes it."""
        with _noted():
            self._run("INSERT INTO told (kind, body) VALUES (?, ?)", (LEASE, lease))

    def void_leases(self) -> None:
        """Nobody works any more on what was leased until now. Raises DiskError."""
        self._run("UPDATE told SET kind = ? WHERE kind = ?", (VOID, LEASE))

    def remembered(self) -> list[Item]:
        """Leases, and what was acknowledged, the newest only; in the order of their being told."""
        return self._items("SELECT id, kind, body FROM told ORDER BY id")

    def tell_again(self) -> None:
        """Put what was acknowledged back into the box. Raises DiskError."""
        self._change(
            ("INSERT INTO outbox (kind, body) SELECT ?, body FROM told WHERE kind = ? ORDER BY id", [(AGAIN, REPORT)]),
            ("INSERT INTO outbox (kind, body) SELECT kind, body FROM told WHERE kind = ?", [(EVALUATION,)]),
            ("DELETE FROM told WHERE kind IN (?, ?)", [(REPORT, EVALUATION)]),
        )

    def __len__(self) -> int:
        if self._db is None:
            return 0
        return len(self._waiting) + sum(int(row[0]) for row in self._run("SELECT COUNT(*) FROM outbox"))

    def close(self) -> None:
        """Close the file. What is asked later finds an empty box: who still sends at the end of a join stops there, and
        what was not removed is sent again at the next one.
        """
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _items(self, statement: str, values: tuple[object, ...] = ()) -> list[Item]:
        return [Item(*row) for row in self._run(statement, values)]

    def _run(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[int, str, bytes]]:
        with self._lock, _in_our_words():
            return self._db.execute(statement, values).fetchall() if self._db is not None else []

    def _change(self, *steps: tuple[str, Sequence[tuple[object, ...]]]) -> None:
        """All of the steps or none, each with every one of its values."""
        with self._lock, _in_our_words():
            if self._db is None:
                return
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                for statement, values in steps:
                    self._db.executemany(statement, values)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DiskError(
            "The disk is full or fails, or its file was altered; what the coordinator has not heard yet could not be "
            f"written: {error}.",
            "Free some space; it is kept in memory meanwhile, and nothing that was acknowledged is lost.",
        ) from error


@contextmanager
def _noted() -> Iterator[None]:
    """A full disk is no reason to stop."""
    try:
        yield
    except DiskError as error:
        logger.warning("%s", error)


def holds(path: Path, digest: str) -> bool:
    """Whether the file holds that state. One that was torn while it waited would be refused again and again, and all
    that waits behind it would never be sent.
    """
    try:
        if state_digest(path) == digest:
            return True
    except CorruptError as error:
        logger.warning("%s", error)
    logger.warning("%s does not hold the state that it was kept as; it is not sent", path)
    return False
