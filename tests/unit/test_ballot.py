"""A vote that was given is not forgotten, whatever becomes of the process or the note."""

import errno
from pathlib import Path

import pytest

from peer.exchange.ballot import UNKNOWN, Ballot
from swarm.errors import DiskError


def test_a_vote_outlives_its_process(tmp_path: Path) -> None:
    note = tmp_path / "vote"
    ballot = Ballot.of(note)
    assert ballot.round == 0
    ballot.cast(7)
    assert Ballot.of(note).round == 7
    ballot.take_back(7)
    assert ballot.round == 6


def test_a_torn_note_may_have_named_any_round(tmp_path: Path) -> None:
    note = tmp_path / "vote"
    for text in ("", "7", "seven\n", "\n"):
        note.write_text(text)
        assert Ballot.of(note).round == UNKNOWN


def test_a_full_disk_takes_a_vote_all_the_same(tmp_path: Path) -> None:
    """The note is written in its place: no block is needed that a full disk does not have."""
    note = tmp_path / "vote"
    note.write_text("7\n")  # as it was kept before
    ballot = Ballot.of(note)
    before = note.stat()
    ballot.cast(123_456_789)
    after = note.stat()
    assert (after.st_ino, after.st_size, after.st_blocks) == (before.st_ino, before.st_size, before.st_blocks)
    assert Ballot.of(note).round == 123_456_789


def test_what_cannot_be_kept_is_not_voted() -> None:
    def full(_round: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ballot = Ballot(3, full)
    with pytest.raises(DiskError, match="disk is full"):
        ballot.cast(4)
    assert ballot.round == 3
