"""One coordinator serves a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from swarm import lock
from swarm.errors import UsageError

_FILE = "coordinator.lock"


def hold(data_dir: Path) -> IO[str]:
    """Hold the folder for this process, until the file is closed. Raises UsageError when another one does."""
    try:
        return lock.hold(data_dir / _FILE)
    except lock.HeldError as other:
        raise UsageError(
            f"Another coordinator (process {other.process}) serves the run in {data_dir}.",
            "Stop it first, or use another --data-dir.",
        ) from other


def holder(data_dir: Path) -> str:
    """The process that holds the folder; empty when none does."""
    return lock.holder(data_dir / _FILE)
