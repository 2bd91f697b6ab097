"""For all tests: nothing may be left behind."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests import leftovers, prepared

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30  # bytes; a whole run of the tests needs a tenth of it

# Read when torch is imported. Threads of tests that run side by side wait for each other: 86 seconds instead of 17.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that runs the tests in the background has them ignore Ctrl-C, and whatever they start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no fault of a test.
settings.register_profile("machines", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("machines")


def _fit_into_memory() -> bool:
    """Whether temporary files may lie in memory: there is room, and what lies there may be executed."""
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK):
        return False
    there = os.statvfs(_MEMORY)
    room = min(there.f_bavail * there.f_frsize, psutil.virtual_memory().available // 2)
    return room > _ROOM and not there.f_flag & os.ST_NOEXEC


# A coordinator waits at each step until the disk has it. After kill -9 the kernel still has all that was written, so
# that no test needs a disk for it: only a power cut takes more, and no test can bring that about.
if _fit_into_memory():
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


@pytest.fixture(scope="session", autouse=True)
def folder_of_pytest(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make pytest's own folder before a test gets a TMPDIR of its own, which ends with that test."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ[prepared.KEPT] = str(common / "prepared")


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that starts processes when one of them, or a temporary folder, outlives it."""
    if request.node.get_closest_marker("processes") is None:
        yield
        return
    with leftovers.nothing_left():
        yield


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """A file for `swarm.log.setup`; afterwards logging is as it was."""
    root = logging.getLogger("garage-swarm")
    before = root.handlers[:], root.propagate, root.level
    yield tmp_path / "some.log"
    for handler in set(root.handlers) - set(before[0]):
        handler.close()
    root.handlers[:], root.propagate, root.level = before
