"""The outbox keeps what was not acknowledged, in order, also over a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from peer.outbox import CHECKPOINT, REPORT, Outbox


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
