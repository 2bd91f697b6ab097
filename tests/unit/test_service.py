"""Files for systemd, launchd and Windows: read back by their own readers."""

from __future__ import annotations

import plistlib
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from swarm.cli import app
from swarm.invite import Invite
from swarm.service import Service, launchd, systemd, windows
from tests.harness import ROOT

COMMAND = [sys.executable, "-m", "swarm.cli", "join", "/home/ada/my runs/in$ite%h", "--yes", "--name", 'Ada "the" PC']
SERVICE = Service("law", COMMAND, {"SWARM_HOME": "/home/ada/my runs"})
INVITE = str(Invite("192.0.2.1", 7700, "law", "ab" * 16, "very-secret"))


def test_systemd_gets_every_word_as_it_is() -> None:
    line = next(line for line in systemd(SERVICE).splitlines() if line.startswith("ExecStart="))
    words = shlex.split(line.removeprefix("ExecStart=").replace("%%", "%").replace("$$", "$"))
    assert words == COMMAND


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "garage-swarm-law.service"
    unit.write_text(systemd(SERVICE))
    command = ["systemd-analyze", "verify", "--man=no", "--generators=no", str(unit)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "garage-swarm-law" not in checked.stderr, checked.stderr


def test_launchd_gets_every_word_as_it_is() -> None:
    agent = plistlib.loads(launchd(SERVICE))
    assert agent["ProgramArguments"] == COMMAND
    assert agent["EnvironmentVariables"] == {"SWARM_HOME": "/home/ada/my runs"}
    assert agent["KeepAlive"] == {"SuccessfulExit": False}


def test_windows_starts_it_inside_wsl() -> None:
    task = ElementTree.fromstring(windows(SERVICE, "Debian"))
    space = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    assert task.findtext(".//t:Exec/t:Command", namespaces=space) == "wsl.exe"
    arguments = task.findtext(".//t:Exec/t:Arguments", namespaces=space)
    assert arguments
    assert arguments.startswith("--distribution Debian --exec sh -c ")
    inner = shlex.split(shlex.split(arguments)[-1])
    assert inner == ["env", "SWARM_HOME=/home/ada/my runs", *COMMAND]


@pytest.mark.parametrize("system", ["linux", "macos", "windows"])
def test_the_invite_is_in_a_file_of_the_users_own(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))
    shown = CliRunner().invoke(app, ["service", "show", INVITE, "--system", system, "--", "--name", "pc"])
    assert shown.exit_code == 0, shown.output
    assert "very-secret" not in shown.output
    kept = tmp_path / "peers" / "law" / "invite"
    assert Invite.of(str(kept)) == Invite.parse(INVITE)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    for word in (str(kept), "--name", "pc"):
        assert word in shown.output
    assert "--yes" not in shown.output  # changed terms are asked for again


def test_windows_itself_is_told_what_to_do_at_once() -> None:
    code = "import sys; from swarm.cli import main; sys.platform = 'win32'; sys.argv = ['swarm', 'join', 'x']; main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 2
    assert "wsl --install" in ended.stderr
    assert "Traceback" not in ended.stderr
