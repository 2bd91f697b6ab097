"""For tests that start processes."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def folder_of_pytest(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make pytest's own folder before a test gets a TMPDIR of its own, which ends with that test."""
    tmp_path_factory.getbasetemp()
