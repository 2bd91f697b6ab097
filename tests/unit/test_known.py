"""A run's name in an invite's place."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from swarm import paths
from swarm.cli import known
from swarm.cli.rundir import INVITE
from swarm.cli.share import write
from swarm.errors import InviteError, NotFoundError, UsageError
from swarm.invite import Invite

LAW = Invite("h", 1, "law", "0" * 32, "t" * 22)
MED = replace(LAW, run="med")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))


def joined(*invites: Invite) -> None:
    for invite in invites:
        known.keep(invite, paths.peer_dir(invite.run))


def test_what_was_joined_is_known_by_its_name_and_alone_without_one() -> None:
    joined(LAW)
    assert known.invite("law") == known.invite("") == known.joined() == LAW
    kept = paths.peer_dir("law") / INVITE
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_of_several_one_must_be_named() -> None:
    joined(LAW, MED)
    assert known.invite("med") == MED
    for ask in (lambda: known.invite(""), known.joined):
        with pytest.raises(UsageError, match="law, med"):
            ask()


def test_what_was_launched_here_is_known_too_but_was_not_joined(tmp_path: Path) -> None:
    paths.run_dir("law").mkdir(parents=True)
    write(LAW, paths.run_dir("law") / INVITE)
    assert known.invite("law") == known.invite("") == LAW
    assert known.joined() is None


def test_an_invite_and_a_file_are_taken_as_they_are(tmp_path: Path) -> None:
    write(MED, tmp_path / "med.invite")
    assert known.invite(str(tmp_path / "med.invite")) == known.invite(str(MED)) == MED


def test_where_nothing_is_known_it_is_said() -> None:
    with pytest.raises(NotFoundError, match="No run was joined or launched"):
        known.invite("")
    with pytest.raises(InviteError, match="starts with swarm://"):
        known.invite("law")


def test_a_later_invite_takes_the_place_of_the_earlier_one() -> None:
    later = replace(LAW, token="u" * 22)
    joined(LAW, later)
    assert known.invite("law") == later
