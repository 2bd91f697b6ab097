"""What starts processes must leave none, and no temporary folder. Ports need no look: a process holds a port."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import psutil

_MARK = "SWARM_TEST_ID"  # in the environment of all that is started


@contextmanager
def nothing_left() -> Iterator[None]:
    """Raises AssertionError when a process that was started in the block, or a temporary folder, outlives it.

    One thread for each process meanwhile: several share the machine.
    """
    mark = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="t-"))  # short: Unix sockets have at most 107 characters
    environment = {_MARK: mark, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    with patch.dict(os.environ, environment), patch.object(tempfile, "tempdir", str(folder)):
        try:
            yield
        finally:
            left = _settled(mark)
            names = [f"{process.pid}: {' '.join(process.cmdline()[:4])}" for process in left]
            for process in left:
                process.kill()
            files = [path.name for path in folder.iterdir()]
            shutil.rmtree(folder, ignore_errors=True)
    assert not names, f"processes outlive what started them: {names}"
    assert not files, f"temporary files outlive what made them: {files}"


def running(mark: str) -> list[psutil.Process]:
    """Processes that inherited the mark and still run."""
    found = []
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid()
            if alive and process.environ().get(_MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _settled(mark: str, seconds: float = 3.0) -> list[psutil.Process]:
    end = time.monotonic() + seconds
    while (left := running(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    return left
