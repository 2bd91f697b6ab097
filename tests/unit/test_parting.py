"""What the next process in a folder knows of the one before."""

from __future__ import annotations

from pathlib import Path

from peer import parting
from peer.parting import Before


def test_the_next_process_knows_whether_the_one_before_said_goodbye(tmp_path: Path) -> None:
    assert parting.before(tmp_path) == Before()
    parting.begun(tmp_path, "cafe")
    assert parting.before(tmp_path) == Before("cafe")
    parting.left(tmp_path, "cafe", 27)
    assert parting.before(tmp_path) == Before("cafe", left_in=27)
    parting.begun(tmp_path, "beef")
    assert parting.before(tmp_path) == Before("beef")
