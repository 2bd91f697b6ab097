"""An invite handed on: as a file and as a QR code that fits a terminal."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
import segno
from typer.testing import CliRunner

from swarm import cli
from swarm.cli.share import qr_code, write
from swarm.errors import NotFoundError, SwarmError, UsageError
from swarm.invite import Invite

INVITE = Invite("2001:db8::1234:5678", 7700, "legal-en-de", "ab" * 16, "s" * 22)


def test_the_code_fits_a_terminal_and_holds_the_invite() -> None:
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in qr_code(str(INVITE)).splitlines()]
    width = {len(line) for line in lines if line}
    modules = segno.make_qr(str(INVITE), error="l").symbol_size()[0]
    assert width == {modules}
    assert modules <= 80
    assert qr_code(str(INVITE)) != qr_code(str(INVITE)[:-1] + "x")


def test_a_file_is_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "run.swarm-invite"
    write(INVITE, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Invite.of(str(path)) == INVITE
    with pytest.raises(SwarmError, match="Writing the invite"):
        write(INVITE, tmp_path / "no such folder" / "x")


def test_which_run_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))
    show = lambda *more: CliRunner().invoke(cli.app, ["invite", "show", *more])  # noqa: E731
    assert isinstance(show().exception, NotFoundError)
    for name in ("one", "two"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.toml").touch()
        write(Invite("h", 1, name, "ab" * 16, "t"), folder / "invite")
        if name == "one":
            assert Invite.parse(show().stdout).run == "one"
    several = show().exception
    assert isinstance(several, UsageError)
    assert "one, two" in several.what
    assert Invite.parse(show("--run", "two").stdout).run == "two"
    assert Invite.parse(show("--data-dir", str(tmp_path / "runs" / "one")).stdout).run == "one"
    assert Invite.parse(show("--run", str(INVITE), "--output", str(tmp_path / "x")).stdout) == INVITE
    assert Invite.of(str(tmp_path / "x")) == INVITE
    assert isinstance(show("--run", "three").exception, NotFoundError)
