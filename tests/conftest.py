"""For all tests: nothing may be left behind."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("machines", suppress_health_check=[HealthCheck.too_slow])  # a busy one is no fault of a test
settings.load_profile("machines")

_MARK = "SWARM_TEST_ID"


def running(mark: str) -> list[psutil.Process]:
    """Processes that inherited the test's mark and still run."""
    found = []
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid()
            if alive and process.environ().get(_MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="session", autouse=True)
def folder_of_pytest(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make pytest's own folder before a test gets a TMPDIR of its own, which ends with that test."""
    tmp_path_factory.getbasetemp()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that starts processes when one of them, or a temporary folder, outlives it.

    Ports need no check of their own: a port is held by a process.
    """
    if request.node.get_closest_marker("processes") is None:
        yield
        return
    mark = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="t-"))  # short: Unix sockets have at most 107 characters
    monkeypatch.setenv(_MARK, mark)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    left = _settled(mark)
    names = [f"{process.pid}: {' '.join(process.cmdline()[:4])}" for process in left]
    for process in left:
        process.kill()
    files = [path.name for path in folder.iterdir()]
    shutil.rmtree(folder, ignore_errors=True)
    assert not names, f"processes outlive the test: {names}"
    assert not files, f"temporary files outlive the test: {files}"


def _settled(mark: str, seconds: float = 3.0) -> list[psutil.Process]:
    end = time.monotonic() + seconds
    while (left := running(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    return left
