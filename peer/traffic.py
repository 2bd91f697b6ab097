"""What this machine sent and received for swarms this month: kept over restarts, for the volunteer's cap."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from swarm.tensorfile import atomic_write


class Traffic:
    """Bytes of updates and files, by month, in a file that all runs of this machine share. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def add(self, count: int, now: datetime) -> None:
        """Count bytes that passed."""
        with self._lock:
            month = {f"{now:%Y-%m}": self._read().get(f"{now:%Y-%m}", 0) + count}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path) as file:
                file.write(json.dumps(month).encode())

    def month(self, now: datetime) -> int:
        """Bytes of this month so far."""
        with self._lock:
            return self._read().get(f"{now:%Y-%m}", 0)

    def _read(self) -> dict[str, int]:
        with suppress(OSError, ValueError):
            found = json.loads(self._path.read_text())
            return {str(key): int(value) for key, value in found.items()}
        return {}
