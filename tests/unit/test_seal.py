"""A database that lost commits is refused; one that was put back from a copy is not."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from coordinator import decisions as d
from coordinator.store import open_store
from swarm.errors import CorruptError
from tests.histories import START, TERMS


def write(folder: Path, times: int) -> None:
    with closing(open_store(TERMS.run, folder)) as store:
        for _ in range(times):
            store.write([d.CheckpointAccepted(START)], 0.0)


def killed(folder: Path) -> Path:
    """What a coordinator leaves that ends in the middle of its work."""
    left = folder.with_name("killed")
    with closing(open_store(TERMS.run, folder)) as store:
        store.write([d.CheckpointAccepted(START)], 0.0)
        shutil.copytree(folder, left, ignore=shutil.ignore_patterns("*-shm"))
    return left


def test_a_crash_alone_is_no_reason_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write(tmp_path / "run", 3)
    write(killed(tmp_path / "run"), 1)
    assert (tmp_path / "killed" / "coordinator.sqlite.seal").read_text() == "5"


def test_a_log_that_lost_a_commit_is_refused_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write(tmp_path / "run", 3)
    left = killed(tmp_path / "run")
    (left / "coordinator.sqlite-wal").write_bytes(b"")
    for _ in range(3):
        with pytest.raises(CorruptError, match=r"after commit 3; 4 was acknowledged.*swarm restore"):
            open_store(TERMS.run, left)


def test_an_older_copy_that_was_put_back_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write(tmp_path / "run", 1)
    copy = (tmp_path / "run" / "coordinator.sqlite").read_bytes()
    left = killed(tmp_path / "run")
    (left / "coordinator.sqlite").write_bytes(copy)
    (left / "coordinator.sqlite-wal").unlink()
    with closing(open_store(TERMS.run, left)):
        assert (left / "coordinator.sqlite.seal").read_text() == "1"
