"""What commands about trials leave on a volunteer's disk."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from swarm.cli import trialing


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))
    return tmp_path


def test_a_report_stays_after_an_error_until_the_next_command(home: Path) -> None:
    with suppress(KeyError), trialing.scratch() as report:
        report.write_text("why")
        raise KeyError
    assert report.read_text() == "why"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    report = report.rename(home / f"trials-{ended.pid}.log")
    other = home / f"trials-{os.getppid()}.log"
    other.write_text("of a command that goes on")
    with trialing.scratch() as own:
        own.write_text("nothing is wrong")
        assert not report.exists()
    assert [path.name for path in home.iterdir()] == [other.name]
