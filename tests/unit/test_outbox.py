"""The outbox keeps what was not acknowledged, in order, also over a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from peer.outbox import AGAIN, CHECKPOINT, EVALUATION, REPORT, VOID, Outbox
from swarm.errors import DiskError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


def opened(path: Path) -> Outbox:
    box = Outbox(path)
    box.open()
    return box


def test_first_in_first_out(path: Path) -> None:
    box = opened(path)
    for number in range(5):
        box.put(REPORT if number else CHECKPOINT, bytes([number]))
    items = box.first(3)
    assert [(item.kind, item.body) for item in items] == [(CHECKPOINT, b"\0"), (REPORT, b"\1"), (REPORT, b"\2")]
    box.remove(items)
    assert [item.body for item in box.first(9)] == [b"\3", b"\4"]
    box.close()


def test_as_much_at_once_as_the_coordinator_takes_and_one_at_least(path: Path) -> None:
    box = opened(path)
    for size in (30, 5, 5, 1):
        box.put(REPORT, bytes(size))
    sent = []
    while items := box.first(3, 10):
        sent.append([len(item.body) for item in items])
        box.remove(items)
    assert sent == [[30], [5, 5], [1]]
    box.close()


def test_what_was_put_is_there_after_a_kill(path: Path) -> None:
    """The process ends without closing anything, as in a crash."""
    code = (
        "import os, sys; from pathlib import Path; from peer.outbox import Outbox, REPORT;"
        "box = Outbox(Path(sys.argv[1])); box.open(); box.put(REPORT, b'kept'); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False, env=os.environ)
    assert ended.returncode == -9
    box = opened(path)
    assert [item.body for item in box.first(9)] == [b"kept"]
    assert len(box) == 1
    box.close()


def test_what_was_acknowledged_is_remembered_and_can_be_told_again(path: Path) -> None:
    box = opened(path)
    for kind in (REPORT, CHECKPOINT, EVALUATION):
        box.put(kind, kind.encode())
    box.remember(b"lease")
    box.remove(box.first(9))
    assert not len(box)
    box.void_leases()
    assert [(item.kind, item.body) for item in box.remembered()] == [
        (VOID, b"lease"),
        (REPORT, b"report"),
        (EVALUATION, b"evaluation"),
    ]
    box.tell_again()
    assert [(item.kind, item.body) for item in box.first(9)] == [(AGAIN, b"report"), (EVALUATION, b"evaluation")]
    box.remove(box.first(9))
    assert [item.kind for item in box.remembered()] == [VOID, REPORT, EVALUATION]
    box.close()


def test_only_the_newest_are_remembered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.outbox._REMEMBERED", 5)
    box = opened(path)
    for number in range(9):
        box.put(REPORT, bytes([number]))
    box.remove(box.first(9))
    assert [item.body for item in box.remembered()] == [bytes([number]) for number in range(4, 9)]
    box.close()


def test_what_a_full_disk_does_not_take_waits_in_memory_and_in_order(path: Path) -> None:
    box = opened(path)
    box.put(REPORT, b"1")
    [pages] = box._run("PRAGMA page_count")
    box._run(f"PRAGMA max_page_count = {pages[0]}")
    large = bytes(1 << 20)
    for body in (large, b"3"):
        box.put(REPORT, body)
    assert len(box) == 3
    with pytest.raises(DiskError, match="The disk is full"):
        box.first(9)
    box._run("PRAGMA max_page_count = 1000000")
    assert [item.body for item in box.first(9)] == [b"1", large, b"3"]
    box.close()
