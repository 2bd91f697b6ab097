"""A run's tables in PostgreSQL: kept there from its first launch to its last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coordinator import tables_at
from coordinator.server import Coordinator, Settings
from swarm import runspec
from swarm.client import CoordinatorClient
from swarm.errors import SwarmError, UsageError
from tests.contract.conftest import emptied
from tests.small_run import prepared

SECRET = "postgresql://ada:secret@db.example.org/runs"


def test_a_launch_that_leaves_the_database_out_does_not_begin_anew(tmp_path: Path) -> None:
    for _ in range(2):
        assert "secret@db.example.org" in tables_at.require(tmp_path, SECRET)
    note = (tmp_path / tables_at.NOTE).read_text()
    assert "db.example.org" in note
    assert "secret" not in note
    for other in ("", "postgresql://ada@elsewhere.example.org/runs"):
        with pytest.raises(UsageError, match=r"are in postgresql.*db\.example\.org"):
            tables_at.require(tmp_path, other)


def test_a_run_that_began_in_its_folder_stays_there(tmp_path: Path) -> None:
    assert tables_at.require(tmp_path, "") == ""
    (tmp_path / "coordinator.sqlite").touch()
    assert tables_at.require(tmp_path, "") == ""
    with pytest.raises(UsageError, match=r"are in coordinator\.sqlite, not"):
        tables_at.require(tmp_path, SECRET)


@pytest.mark.parametrize("url", ["nonsense", "mysql://h/d", "sqlite:///x", "postgresql://h:port/d"])
def test_what_is_no_store(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="store"):
        tables_at.require(tmp_path, url)
    assert not (tmp_path / tables_at.NOTE).exists()


@contextmanager
def launched(folder: Path, url: str) -> Iterator[Coordinator]:
    spec = runspec.load(folder / "run.toml")
    coordinator = Coordinator(Settings(folder, "127.0.0.1", 0, "127.0.0.1", spec, (), store_url=url))
    try:
        coordinator.start()
        yield coordinator
    finally:
        coordinator.stop()


def test_a_run_goes_on_from_the_database(postgresql: str, tmp_path: Path) -> None:
    prepared(tmp_path)
    with emptied(postgresql):
        for _ in range(2):
            with launched(tmp_path, postgresql) as coordinator, CoordinatorClient.connect(coordinator.invite) as client:
                assert [item.round for item in client.checkpoints()] == [0]
        assert not (tmp_path / "coordinator.sqlite").exists()
        with pytest.raises(UsageError, match="are in postgresql"), launched(tmp_path, ""):
            pass


def test_a_database_that_does_not_answer_is_said(tmp_path: Path) -> None:
    prepared(tmp_path)
    with pytest.raises(SwarmError, match="database"), launched(tmp_path, "postgresql://x@127.0.0.1:1/runs"):
        pass
