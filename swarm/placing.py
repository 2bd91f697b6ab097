"""A folder that appears at its place as a whole, or not at all, and takes the place of an earlier one at once."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarm.errors import UsageError
from swarm.tensorfile import publish, sync

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # <fcntl.h>, <linux/fs.h>


@contextmanager
def staging(target: Path, mode: int) -> Iterator[Path]:
    """An empty folder beside `target` to work in; what is left of it at the end is removed, and what an earlier process
    left there as well. Raises UsageError while another process works there, OSError.
    """
    stage = target.with_name(f".{target.name}.tmp")
    stage.parent.mkdir(parents=True, exist_ok=True)
    stage.mkdir(mode=mode, exist_ok=True)
    held = os.open(stage, os.O_RDONLY)
    try:
        _hold(held, target)
        stage.chmod(mode)
        _clear(stage)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    finally:
        os.close(held)


def _hold(file: int, target: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(f"Another process is writing {target}.", "Wait for it, or name another place.") from error


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def carry(source: Path, target: Path) -> None:
    """Give `target` the bytes of a file that nobody changes: a hard link, or a copy on another disk. Raises OSError."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def sync_all(folder: Path) -> None:
    """Have all files below `folder`, and their names, on the disk."""
    for path in (folder, *folder.rglob("*")):
        sync(path)


def place(stage: Path, target: Path) -> None:
    """Move a synced folder to `target`; an earlier folder there is in `stage` then. Raises OSError."""
    if not target.exists() or not any(target.iterdir()):
        publish(stage, target)
    elif not _exchanged(stage, target):
        before = target.with_name(f".{target.name}.before")  # for a moment the earlier one has this name only
        shutil.rmtree(before, ignore_errors=True)
        target.rename(before)
        publish(stage, target)
        shutil.rmtree(before, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders have each other's names, in one step; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None or rename(_AT_FDCWD, bytes(one), _AT_FDCWD, bytes(other), _RENAME_EXCHANGE):
        return False
    sync(other.parent)
    return True
