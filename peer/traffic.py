"""What this machine sent and received for swarms, by day: kept over restarts, for the volunteer's cap and screen."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from swarm import log
from swarm.lock import alone
from swarm.sqlitefile import companions, flaw, is_damage

logger = log.get(__name__)

_BUSY_SECONDS = 10.0


class Traffic:
    """Bytes of updates, states and files, in a file that all runs of this machine share; threads may share it, too.

    A file that cannot be used counts as empty, and is said in the log: it must not end a night's work.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = False

    def add(self, count: int, now: datetime) -> None:
        """Count bytes that passed."""
        self._ask(
            "INSERT INTO traffic VALUES (?, ?) ON CONFLICT (day) DO UPDATE SET bytes = bytes + excluded.bytes",
            (f"{now:%Y-%m-%d}", count),
        )

    def today(self, now: datetime) -> int:
        """Bytes since midnight."""
        return self._since(f"{now:%Y-%m-%d}")

    def month(self, now: datetime) -> int:
        """Bytes of this month so far."""
        return self._since(f"{now:%Y-%m-01}")

    def _since(self, day: str) -> int:
        rows = self._ask("SELECT coalesce(sum(bytes), 0) FROM traffic WHERE day >= ?", (day,))
        return sum(int(count) for (count,) in rows)

    def _ask(self, statement: str, values: tuple[object, ...]) -> list[tuple[int]]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._look()
            with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as file, file:
                file.execute("PRAGMA synchronous=OFF")  # a power cut may cost a count, a slow disk must not cost time
                file.execute("CREATE TABLE IF NOT EXISTS traffic (day TEXT PRIMARY KEY, bytes INTEGER NOT NULL)")
                return file.execute(statement, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            if is_damage(error):
                self._begin_anew(str(error))
            else:
                logger.warning("the traffic of this machine is not counted: %s", error)
        return []

    def _look(self) -> None:
        """Once: look at all of the file, because a damaged part may hold a wrong count. One after the other: of two who
        found the same damage the second one would remove what the first had begun anew.
        """
        if self._looked:
            return
        with alone(self._path.parent):
            self._looked = True
            if why := self._flaw():
                self._begin_anew(why)

    def _flaw(self) -> str:
        """An empty file is none: it is as good as a new one, and may be another process's that begins just now."""
        if not self._path.exists():
            return ""
        if self._path.stat().st_size:
            return flaw(self._path)
        logger.warning("%s, the count of this machine's traffic, is empty and begins anew", self._path)
        return ""

    def _begin_anew(self, why: str) -> None:
        logger.warning("%s, the count of this machine's traffic, is damaged and begins anew: %s", self._path, why)
        for path in (self._path, *companions(self._path)):
            with suppress(OSError):
                path.unlink()
