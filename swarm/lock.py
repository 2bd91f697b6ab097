"""A file or folder that one process holds at a time; the lock ends with that process, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class HeldError(Exception):
    """Another process holds the file: `process` is its number, or "?"."""

    def __init__(self, process: str) -> None:
        super().__init__(process)
        self.process = process


def hold(path: Path) -> IO[str]:
    """Hold the file for this process, until what is returned is closed. Raises HeldError, OSError."""
    file = path.open("a+")
    if not _locked(file):
        other = _named(file)
        file.close()
        raise HeldError(other)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def holder(path: Path) -> str:
    """The process that holds the file; empty when none does."""
    try:
        with path.open("r+") as file:
            return "" if _locked(file) else _named(file)
    except (FileNotFoundError, NotADirectoryError):
        return ""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one in the folder, of all processes and threads that ask for it; wait for who is. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _named(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip() or "?"
