"""A vote that was given is not forgotten, whatever becomes of the process or the note."""

from pathlib import Path

from peer.exchange.ballot import UNKNOWN, Ballot


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
