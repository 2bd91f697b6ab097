"""Ending processes for good."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress

import psutil

_LOOK_SECONDS = 0.02


def kill(processes: Collection[psutil.Process], seconds: float = 2.0) -> None:
    """Kill and wait until they run no more, at most `seconds`; zombies, which only their parent can bury, count as
    ended.
    """
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    end = time.monotonic() + seconds
    while any(_runs(process) for process in processes) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
