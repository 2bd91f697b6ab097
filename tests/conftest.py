"""For all tests: nothing may be left behind."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import leftovers

# Read when torch is imported. Threads of tests that run side by side wait for each other: 86 seconds instead of 17.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("machines", suppress_health_check=[HealthCheck.too_slow])  # a busy one is no fault of a test
settings.load_profile("machines")


@pytest.fixture(scope="session", autouse=True)
def folder_of_pytest(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make pytest's own folder before a test gets a TMPDIR of its own, which ends with that test."""
    tmp_path_factory.getbasetemp()


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
