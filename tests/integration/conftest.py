"""For tests with a whole swarm: a run that ends with the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.swarm_run import SwarmRun, swarm_run


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SwarmRun]:
    """It would go on for hours, and keeps many checkpoints; its coordinator is not started yet."""
    with swarm_run(tmp_path, rounds=100_000, every=5) as run:
        yield run
