"""`swarm backup` and `swarm restore`: a copy is whole and of one moment, or it is not there."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator import backup, copies, fsck, lock
from coordinator.store import open_store
from swarm import placing
from swarm.checks import failed
from swarm.cli import app
from swarm.errors import CorruptError, DiskError, NotFoundError, UsageError
from tests.contract.test_store import facts
from tests.histories import TERMS
from tests.small_run import Quiet, checkpoint, of_artefacts, overwrite, small_run, sql


@pytest.fixture
def run(tmp_path: Path) -> Path:
    small_run(tmp_path / "run")
    return tmp_path / "run"


PLACES = pytest.mark.parametrize("name", ["copy", "copy.tar"])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def nothing_half_done(folder: Path) -> bool:
    return not [path for path in folder.iterdir() if path.name.startswith(".")]


@PLACES
def test_what_is_restored_is_what_was_there(run: Path, tmp_path: Path, name: str) -> None:
    note, findings = backup.back_up(run, tmp_path / name)
    assert failed(findings) == []
    restored = tmp_path / "restored"
    assert backup.restore(tmp_path / name, restored) == (note, findings)
    assert facts(open_store(TERMS.run, restored).load(TERMS)) == facts(open_store(TERMS.run, run).load(TERMS))
    before, after = tree(run), tree(restored)
    for file in ("run.toml", "artefacts.json", "token", "tls.pem", "invite", "model/config.json"):
        assert after[file] == before[file]
    assert {file for file in after if file.startswith("blobs/")} == {
        file for file in before if file.startswith("blobs/")
    }
    assert stat.S_IMODE((restored / "tls.pem").stat().st_mode) == 0o600
    assert note.round == open_store(TERMS.run, run).load(TERMS).round
    assert nothing_half_done(tmp_path)


def test_a_copy_on_the_same_disk_shares_the_blobs_and_is_for_its_owner_only(run: Path, tmp_path: Path) -> None:
    backup.back_up(run, tmp_path / "copy")
    assert of_artefacts(tmp_path / "copy").samefile(of_artefacts(run))
    assert not (tmp_path / "copy" / copies.FILE).samefile(run / copies.FILE)
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700
    backup.back_up(run, tmp_path / "copy.tar")
    assert stat.S_IMODE((tmp_path / "copy.tar").stat().st_mode) == 0o600


def test_on_another_disk_the_blobs_are_copied(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    backup.back_up(run, tmp_path / "copy")
    assert not of_artefacts(tmp_path / "copy").samefile(of_artefacts(run))
    assert failed(fsck.examine(tmp_path / "copy")) == []


def test_a_copy_is_of_one_moment_while_the_tables_are_written(run: Path, tmp_path: Path) -> None:
    """A writer adds to the history all the time; every copy adds up all the same."""
    store, ended = open_store(TERMS.run, run), threading.Event()

    def write() -> None:
        history = Quiet(3, state=store.load(TERMS), now=1e6, keys="later")
        for _, made, _, now in history.steps(100_000):
            store.write(made, now)
            if ended.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(4):
            backup.back_up(run, tmp_path / f"copy-{number}")
    finally:
        ended.set()
        writer.join()
        store.close()
    for number in range(4):
        assert failed(fsck.examine(tmp_path / f"copy-{number}")) == []


def test_tables_are_read_as_a_killed_coordinator_left_them(run: Path, tmp_path: Path) -> None:
    """What it had committed may still be in the log beside the database."""
    store, left = open_store(TERMS.run, run), tmp_path / "left"
    for _, made, _, now in Quiet(3, state=store.load(TERMS), now=1e6).steps(20):
        store.write(made, now)
    expected = facts(store.load(TERMS))
    shutil.copytree(run, left)
    store.close()
    assert (left / f"{copies.FILE}-wal").stat().st_size
    backup.back_up(left, tmp_path / "copy")
    assert facts(open_store(TERMS.run, tmp_path / "copy").load(TERMS)) == expected


def test_a_checkpoint_that_is_dropped_meanwhile_is_not_missed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file goes between the copy of the tables and the copy of the files: the tables are copied again."""
    old = checkpoint(run, 1)
    columns = "run, round, digest, sha256, size, global_samples, created_at, uploaded_by"
    names = (
        f"INSERT INTO checkpoints ({columns}) VALUES ('law', 1, '{old.digest}', '{old.sha256}', {old.size}, 8, 0, '')"
    )
    sql(run, names)
    to_file, looked = copies.to_file, []

    def dropped_after_the_first_copy(tables: Path, target: Path) -> None:
        to_file(tables, target)
        if not looked:
            sql(run, "DELETE FROM checkpoints WHERE round = 1")
            (run / "blobs" / old.sha256).unlink()
        looked.append(target)

    monkeypatch.setattr(copies, "to_file", dropped_after_the_first_copy)
    backup.back_up(run, tmp_path / "copy")
    assert len(looked) == 2
    assert copies.checkpoints(tmp_path / "copy" / copies.FILE) == copies.checkpoints(run / copies.FILE)


@PLACES
def test_a_second_copy_takes_the_place_of_the_first_only_when_it_is_whole(run: Path, tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    first, _ = backup.back_up(run, place)
    content = of_artefacts(run).read_bytes()
    of_artefacts(run).unlink()
    with pytest.raises(CorruptError, match="is missing"):
        backup.back_up(run, place)
    assert backup.note_of(place) == first
    assert nothing_half_done(tmp_path)
    of_artefacts(run).write_bytes(content)
    second, _ = backup.back_up(run, place)
    assert backup.note_of(place) == second
    assert second.made_at > first.made_at
    assert nothing_half_done(tmp_path)


def test_a_place_may_be_a_link_or_the_present_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for _ in range(2):
        backup.back_up(run, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    backup.restore(tmp_path / "disk", Path())
    assert (tmp_path / "here" / "run.toml").exists()


def test_where_folders_cannot_be_exchanged_they_are_renamed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = backup.back_up(run, tmp_path / "copy")
    monkeypatch.setattr(placing.sys, "platform", "darwin")
    second, _ = backup.back_up(run, tmp_path / "copy")
    assert backup.note_of(tmp_path / "copy") == second != first
    assert nothing_half_done(tmp_path)


def test_what_a_killed_process_left_is_no_hindrance_but_a_living_one_is(run: Path, tmp_path: Path) -> None:
    left = tmp_path / ".copy.tmp"
    (left / "blobs").mkdir(parents=True)
    (left / "blobs" / "half").write_bytes(b"x")
    backup.back_up(run, tmp_path / "copy")
    assert not (tmp_path / "copy" / "blobs" / "half").exists()
    with placing.staging(tmp_path / "copy", 0o700), pytest.raises(UsageError, match="Another process"):
        backup.back_up(run, tmp_path / "copy")


def test_a_full_disk_is_said_and_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(placing, "carry", full)
    with pytest.raises(DiskError, match="full"):
        backup.back_up(run, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert nothing_half_done(tmp_path)


def test_a_ledger_that_does_not_add_up_is_copied_and_said(run: Path, tmp_path: Path) -> None:
    sql(run, "UPDATE members SET counted = counted + 1")
    _, findings = backup.back_up(run, tmp_path / "copy")
    assert {check.name for check in failed(findings)} == {"credit"}
    _, findings = backup.restore(tmp_path / "copy", tmp_path / "restored")
    assert {check.name for check in failed(findings)} == {"credit"}


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────


def test_only_an_earlier_backup_is_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo").write_bytes(b"x")
    (tmp_path / "mine.tar").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    for place in ("mine", "mine.tar", "file", "run"):
        with pytest.raises(UsageError, match="is no backup"):
            backup.back_up(run, tmp_path / place)
    assert (tmp_path / "mine" / "photo").exists()


def test_a_run_without_tables_here_is_refused_with_the_way_for_postgresql(run: Path, tmp_path: Path) -> None:
    (run / copies.FILE).unlink()
    with pytest.raises(UsageError) as caught:
        backup.back_up(run, tmp_path / "copy")
    assert "pg_dump" in caught.value.remedy
    with pytest.raises(NotFoundError):
        backup.back_up(tmp_path / "nothing", tmp_path / "copy")


def test_no_run_is_overwritten(run: Path, tmp_path: Path) -> None:
    backup.back_up(run, tmp_path / "copy")
    before = tree(run)
    with pytest.raises(UsageError, match="has a run in it"):
        backup.restore(tmp_path / "copy", run)
    with lock.hold(run), pytest.raises(UsageError, match=f"process {os.getpid()} serves"):
        backup.restore(tmp_path / "copy", run)
    assert {key: value for key, value in tree(run).items() if key in before} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo").write_bytes(b"x")
    with pytest.raises(UsageError, match="not empty"):
        backup.restore(tmp_path / "copy", tmp_path / "mine")


@pytest.mark.parametrize("torn", ["token", "run.toml", "coordinator.sqlite", "backup.json", "blobs", "artefacts.json"])
def test_a_damaged_backup_is_refused_by_name(run: Path, tmp_path: Path, torn: str) -> None:
    backup.back_up(run, tmp_path / "copy")
    overwrite(of_artefacts(tmp_path / "copy") if torn == "blobs" else tmp_path / "copy" / torn)
    with pytest.raises(CorruptError) as caught:
        backup.restore(tmp_path / "copy", tmp_path / "restored")
    assert torn.removesuffix(".json") in caught.value.what
    assert not (tmp_path / "restored").exists()
    assert nothing_half_done(tmp_path)


def test_a_tar_that_is_cut_short_or_leads_outside_is_refused(run: Path, tmp_path: Path) -> None:
    backup.back_up(run, tmp_path / "copy.tar")
    content = (tmp_path / "copy.tar").read_bytes()
    (tmp_path / "short.tar").write_bytes(content[: len(content) // 2 + 100])
    with pytest.raises(CorruptError):
        backup.restore(tmp_path / "short.tar", tmp_path / "restored")
    with tarfile.open(tmp_path / "copy.tar", "a") as tar:
        tar.add(run / "token", "../outside")
    with pytest.raises(CorruptError, match="outside"):
        backup.restore(tmp_path / "copy.tar", tmp_path / "restored")
    assert not (tmp_path / "outside").exists()
    assert nothing_half_done(tmp_path)


def test_what_is_no_backup_is_refused(run: Path, tmp_path: Path) -> None:
    for place, error in ((run, CorruptError), (tmp_path / "nothing", NotFoundError), (run / "token", CorruptError)):
        with pytest.raises(error):
            backup.restore(place, tmp_path / "restored")


def test_the_commands_find_the_run_and_say_how_it_goes_on(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("SWARM_HOME", str(home))
    (home / "runs").mkdir(parents=True)
    run.rename(home / "runs" / "law")
    said = CliRunner().invoke(app, ["backup", "--to", str(tmp_path / "copy")])
    assert said.exit_code == 0, said.output
    (home / "runs" / "law").rename(tmp_path / "lost")
    said = CliRunner().invoke(app, ["restore", str(tmp_path / "copy")])
    assert f"swarm launch {home}/runs/law/run.toml --data-dir {home}/runs/law" in said.output
    assert CliRunner().invoke(app, ["fsck", str(home / "runs" / "law")]).exit_code == 0
    assert CliRunner().invoke(app, ["fsck", str(tmp_path / "copy")]).exit_code == 0
    assert CliRunner().invoke(app, ["backup", "law", "--to", str(tmp_path / "again.tar")]).exit_code == 0
