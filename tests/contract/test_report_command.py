"""`swarm report`: of a run that goes on, over its coordinator; of one that was stopped, from its folder alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from coordinator.reading import told_by
from swarm.cli.rundir import INVITE
from tests.contract.conftest import Run
from tests.small_run import coordinating, prepared, small_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with a history."""
    found = tmp_path / "law"
    found.mkdir()
    small_run(found, seed=13, steps=300)
    return found


def content(folder: Path) -> dict[str, str]:
    """But for the files that SQLite makes beside a database that is read."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_stopped_run_is_reported_from_its_folder_which_stays_as_it_was(
    swarm: Run, folder: Path, tmp_path: Path
) -> None:
    before = content(folder)
    assert swarm("report", "--data-dir", folder) == (0, "law-report.html\n", "")
    page = (tmp_path / "law-report.html").read_text()
    assert content(folder) == before
    told = told_by(folder)
    counted = sum(one.samples for one in told.history.totals if one.state == "counted")
    for figure in (f"<dd>{told.status.round:,}</dd>", f"<dd>{counted:,.0f}</dd>", told.checkpoints[0].digest, "Straße"):
        assert figure in page
    assert swarm("report", "--data-dir", folder)[0] == 0
    assert (tmp_path / "law-report.html").read_text() == page


def test_a_running_one_is_asked_or_read_and_says_the_same(swarm: Run, folder: Path, tmp_path: Path) -> None:
    invite = tmp_path / "invite"
    with coordinating(folder) as coordinator:
        invite.write_text(str(coordinator.invite))
        assert swarm("report", invite, "--out", "asked.html")[0] == 0
        assert swarm("report", str(coordinator.own_invite), "--out", "asked-too.html")[0] == 0
        assert swarm("report", "--data-dir", folder, "--out", "read.html")[0] == 0
    pages = {(tmp_path / name).read_text() for name in ("asked.html", "asked-too.html", "read.html")}
    assert len(pages) == 1


def test_markdown_has_its_pictures_beside_it(swarm: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "my post.md"
    code, said, _ = swarm("report", "--data-dir", folder, "--out", out)
    files = [Path(line) for line in said.splitlines()]
    assert (code, files[0]) == (0, out)
    assert all(path.read_text().startswith("<svg") for path in files[1:])
    assert [path.name for path in files[1:]] == [f"my post-{number}.svg" for number in (1, 2, 3, 4)]
    assert "(my%20post-1.svg)" in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--out", "report.pdf"], 2, "ends with .html or .md"),
        (["none"], 13, "No run was launched in"),
        (["--out", "no/such/folder/x.html"], 2, "There is no folder no/such/folder"),
    ],
)
def test_what_cannot_be_reported_is_said(swarm: Run, folder: Path, arguments: list[str], code: int, says: str) -> None:
    found, _, err = swarm("report", *arguments, *([] if "none" in arguments else ["--data-dir", folder]))
    assert (found, says in err) == (code, True), err


def test_a_run_that_has_just_been_launched_has_a_report(swarm: Run, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    with coordinating(folder):
        pass
    assert swarm("report", "--data-dir", folder)[0] == 0


def test_a_folder_that_was_only_prepared_has_none(swarm: Run, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    prepared(folder)
    assert not (folder / INVITE).exists()
    assert swarm("report", "--data-dir", folder)[0] == 13
    assert not (folder / "tls.pem").exists()
