"""One coordinator serves a data directory; the lock ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from swarm.errors import UsageError

_FILE = "coordinator.lock"


def hold(data_dir: Path) -> IO[str]:
    """Hold the folder for this process, until the file is closed. Raises UsageError when another one does."""
    file = (data_dir / _FILE).open("a+")
    if not _locked(file):
        other = _named(file)
        file.close()
        raise UsageError(
            f"Another coordinator (process {other}) serves the run in {data_dir}.",
            "Stop it first, or use another --data-dir.",
        )
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def holder(data_dir: Path) -> str:
    """The process that holds the folder; empty when none does."""
    try:
        with (data_dir / _FILE).open("r+") as file:
            return "" if _locked(file) else _named(file)
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _named(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip() or "?"
