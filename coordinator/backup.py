"""A copy of a coordinator's data directory, made while it is running, and a data directory made of such a copy.

A copy is one moment: the tables are copied by SQLite, and blobs never change. What is copied is checked as
`coordinator.fsck` does, before it takes its place.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from coordinator import copies, fsck, handover, history
from coordinator.artefacts import read_artefacts
from coordinator.bootstrap import MEMBERS
from coordinator.lock import holder
from swarm import placing, runspec
from swarm.checks import Check, Level, failed
from swarm.errors import CorruptError, NotFoundError, UsageError, from_os_error
from swarm.tensorfile import atomic_write, sha256_file
from swarm.version import __version__

NOTE = "backup.json"
_FORMAT = "garage-swarm-backup-1"
_TAR = ".tar"
_KEPT = ("run.toml", "artefacts.json", "tls.pem", "token", "invite", "near-duplicates.json", MEMBERS, handover.FILE)
_NONSENSE = (KeyError, ValueError, TypeError, AttributeError, RecursionError)
_TRIES = 5  # a checkpoint may be dropped between the copy of the tables and that of its file


@dataclass(frozen=True)
class Note:
    """What a backup says of itself; `files` holds the SHA-256 of every file but the blobs, whose names are theirs."""

    run: str
    round: int
    made_at: float  # Unix seconds
    files: dict[str, str]
    version: str = __version__
    format: str = _FORMAT


def back_up(folder: Path, to: Path) -> tuple[Note, list[Check]]:
    """Copy the run in `folder` to the folder `to`, or to the file when it ends in .tar; an earlier backup there stays
    until the new one is whole. The findings come back: a ledger that does not add up is copied as it is.

    Raises UsageError, NotFoundError, CorruptError, DiskError.
    """
    to = to.resolve()  # "." has no name, and a link shall stay one
    _require_run(folder)
    _require_backup_or_nothing(to)
    try:
        with placing.staging(to, 0o700) as stage:
            _copy(folder, stage)
            checks = _checked(stage)
            note = _noted(stage)
            placing.sync_all(stage)
            if to.suffix == _TAR:
                _pack(stage, to)
            else:
                placing.place(stage, to)
    except OSError as error:
        raise from_os_error(error, "writing the backup") from error
    return note, checks


def restore(backup: Path, folder: Path) -> tuple[Note, list[Check]]:
    """Make `folder`, which must be new or empty, a data directory as the backup has it. The findings come back.

    Raises UsageError, NotFoundError, CorruptError, DiskError.
    """
    folder = folder.resolve()
    note = note_of(backup)
    _require_free(folder)
    try:
        with placing.staging(folder, 0o755) as stage:
            if backup.is_file():
                _unpack(backup, stage)
            else:
                _unfold(backup, note, stage)
            _require_copied(stage, note)
            checks = _checked(stage)
            (stage / NOTE).unlink()
            placing.sync_all(stage)
            placing.place(stage, folder)
    except OSError as error:
        raise from_os_error(error, "restoring the backup") from error
    except tarfile.TarError as error:
        raise _no_backup(backup) from error
    return note, checks


def note_of(backup: Path) -> Note:
    """What the backup says of itself. Raises NotFoundError, CorruptError, UsageError when it is none."""
    if not backup.exists():
        raise NotFoundError(f"There is no {backup}.", "Name the folder or the .tar that swarm backup wrote.")
    try:
        facts = json.loads(_note_in_tar(backup) if backup.is_file() else (backup / NOTE).read_bytes())
        if facts.pop("format") != _FORMAT:
            raise ValueError("format")
        note = Note(**facts)
        if not isinstance(note.files, dict):
            raise TypeError("files")
        return note
    except (*_NONSENSE, FileNotFoundError, tarfile.TarError) as error:
        raise _no_backup(backup) from error


def compared(folder: Path, note: Note) -> list[Check]:
    """Whether the files of a backup are those that were copied."""
    torn = [name for name, sha256 in note.files.items() if _sha256(folder / name) != sha256]
    says = f"{name} is missing, torn or was altered" if (name := next(iter(torn), "")) else "each is as it was copied"
    level = Level.FAILED if torn else Level.OK
    return [Check("copies", level, says, "Use another backup." if torn else "")]


# ── out ────────────────────────────────────────────────────────────────────────────────────────


def _copy(folder: Path, stage: Path) -> None:
    closed = (folder / handover.CLOSED).exists()  # it is complete then: the same history goes on, on a node of its own
    for name in (*_KEPT, *((history.FILE,) if closed else ("p2p.key", "p2p.port"))):
        if (folder / name).exists():
            shutil.copy2(folder / name, stage / name)
    (stage / "blobs").mkdir()
    _carry_all(folder / "model", stage / "model")
    for _ in range(_TRIES):
        copies.to_file(folder / copies.FILE, stage / copies.FILE)
        if _carry_blobs(folder / "blobs", stage):
            return


def _carry_blobs(blobs: Path, stage: Path) -> bool:
    """Copy what the copied tables and artefacts name; False when a file has gone since. Checkpoints, which may go, come
    first.
    """
    made = read_artefacts(stage / "artefacts.json")
    named = [*copies.checkpoints(stage / copies.FILE), *(blob.sha256 for blob in (*made.blobs, *made.base))]
    for sha256 in dict.fromkeys(named):
        try:
            placing.carry(blobs / sha256, stage / "blobs" / sha256)
        except FileNotFoundError:
            return False
    return True


def _carry_all(folder: Path, target: Path) -> None:
    """The files of a flat folder, if there is one."""
    target.mkdir()
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_file():
            placing.carry(path, target / path.name)


def _noted(stage: Path) -> Note:
    """Write what the copy is of, last of all."""
    spec = runspec.load(stage / "run.toml")
    note = Note(spec.run.name, copies.reached(stage / copies.FILE), time.time(), dict(_sums(stage)))
    with atomic_write(stage / NOTE) as file:
        file.write(json.dumps(asdict(note), indent=1).encode())
    return note


def _sums(stage: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(stage.rglob("*")):
        name = path.relative_to(stage).as_posix()
        if path.is_file() and not name.startswith("blobs/"):
            yield name, sha256_file(path)


def _pack(stage: Path, to: Path) -> None:
    """One file, only for its owner: it holds the run's keys."""
    with atomic_write(to) as file, tarfile.open(fileobj=file, mode="w") as tar:
        os.fchmod(file.fileno(), 0o600)
        for path in sorted(stage.rglob("*"), key=lambda path: (path.name != NOTE, path)):
            if path.is_file():
                tar.add(path, path.relative_to(stage).as_posix())


# ── back ───────────────────────────────────────────────────────────────────────────────────────


def _unfold(backup: Path, note: Note, stage: Path) -> None:
    """Copy a backup's folder; what is missing is found when the copy is checked."""
    for name in (NOTE, *note.files):
        source, target = backup / name, _inside(stage, name)
        if source.is_file():
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(source, target)
    _carry_all(backup / "blobs", stage / "blobs")


def _unpack(backup: Path, stage: Path) -> None:
    with tarfile.open(backup, "r:") as tar:
        for member in tar:
            target = _inside(stage, member.name)
            if source := _content(tar, member):
                target.parent.mkdir(exist_ok=True)
                with source, target.open("xb") as file:
                    shutil.copyfileobj(source, file)
                target.chmod(member.mode & 0o777)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes] | None:
    """What a file holds; one with two names comes as a link to an earlier one of the archive. Nothing else is followed:
    symbolic links and devices are none of a backup's.
    """
    try:
        return tar.extractfile(member) if member.isfile() or member.islnk() else None
    except KeyError as error:
        raise tarfile.TarError(f"{member.name} is a link to what is not there") from error


def _inside(stage: Path, name: str) -> Path:
    """Raises CorruptError for a name that leads out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise CorruptError(f"The backup names the file {name!r}, which lies outside of it.", "Do not use it.")
    return stage / path


# ── what is asked first, and what is checked last ──────────────────────────────────────────────


def _require_run(folder: Path) -> None:
    if not (folder / "artefacts.json").exists():
        raise NotFoundError(f"No run was launched in {folder}.", "`swarm runs` lists those of this machine.")
    if not (folder / copies.FILE).exists():
        raise UsageError(
            f"{folder} has no {copies.FILE}: the run was never launched, or its store is another database.",
            "For PostgreSQL: pg_dump copies the tables; stop the coordinator and copy the folder as well.",
        )


def _require_backup_or_nothing(to: Path) -> None:
    """Only an earlier backup is replaced."""
    if to.suffix == _TAR:
        there = to.exists() and not _is_backup(to)
    else:
        there = to.exists() and not (to.is_dir() and ((to / NOTE).exists() or not any(to.iterdir())))
    if there:
        raise UsageError(
            f"{to} is there already and is no backup of a run; nothing was changed.",
            f"Name a new folder, or a file whose name ends in {_TAR}, with --to.",
        )


def _is_backup(path: Path) -> bool:
    try:
        return path.is_file() and bool(note_of(path))
    except CorruptError:
        return False


def _require_free(folder: Path) -> None:
    if process := holder(folder):
        raise UsageError(f"The coordinator of process {process} serves {folder}.", "Name another --data-dir.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "has a run in it" if (folder / "artefacts.json").exists() else "is there already and not empty"
        raise UsageError(
            f"{folder} {what}; nothing was changed.", "Move it away, or name a new folder with --data-dir."
        )


def _checked(stage: Path) -> list[Check]:
    """The findings of a copy whose files are whole. Raises CorruptError, naming what is not."""
    checks = fsck.examine(stage)
    for check in failed(checks):
        if check.name in fsck.FILES:
            says = check.says.replace(f"{stage}/", "").rstrip(".")
            raise CorruptError(f"{check.name}: {says}; nothing was changed.", check.remedy)
    return [check for check in checks if check.level is not Level.OK]


def _require_copied(stage: Path, note: Note) -> None:
    """Raises CorruptError, naming the file, when a backup is not as it was written."""
    for check in failed(compared(stage, note)):
        raise CorruptError(f"The backup is damaged: {check.says}; nothing was changed.", check.remedy)


def _no_backup(path: Path) -> CorruptError:
    return CorruptError(f"{path} is no backup of a run, or is torn.", "Name another one.")


def _note_in_tar(backup: Path) -> bytes:
    with tarfile.open(backup, "r:") as tar:
        file = tar.extractfile(NOTE)
        return file.read() if file else b""


def _sha256(path: Path) -> str:
    return sha256_file(path) if path.is_file() else ""
