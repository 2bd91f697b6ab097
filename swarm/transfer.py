"""Files that arrive in pieces: resumed where they stopped, verified as a whole, never half there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from swarm.errors import CorruptError, DiskError, UnreachableError, from_os_error
from swarm.tensorfile import is_sha256, publish, sha256_file

Progress = Callable[[int], None]  # told how many bytes are there


def receive(
    open_stream: Callable[[int], Iterable[bytes]],
    sha256: str,
    size: int,
    target: Path,
    progress: Progress | None = None,
) -> None:
    """Fetch the file of `size` bytes and SHA-256 `sha256` to `target`; a file that is there already is kept.

    `open_stream(offset)` yields the bytes from `offset` on. What has arrived stays beside `target` until the
    file is whole, so a later call goes on there. A stream that ends early is opened again while it brings
    something.
    Raises UnreachableError, CorruptError (nothing wrong is kept), DiskError (checked before the first byte).
    """
    if not is_sha256(sha256):  # a part of it is in a file's name
        raise CorruptError(f"The coordinator names {target.name} by no SHA-256.", "Tell the run's maintainer.")
    part = target.with_name(f"{target.name}.{sha256[:8]}.part")
    try:
        if _is_there(target, sha256, size):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        require_space(target.parent, size - _length(part))
        _fill(open_stream, part, size, progress or _silent)
        _publish(part, target, sha256)
    except OSError as error:
        raise from_os_error(error, f"fetching {target.name}") from error


def _fill(open_stream: Callable[[int], Iterable[bytes]], part: Path, size: int, progress: Progress) -> None:
    with part.open("ab") as file:
        if file.tell() > size:
            file.truncate(0)
        while (offset := file.seek(0, os.SEEK_END)) < size:
            try:
                for data in open_stream(offset):
                    file.write(data[: size - file.tell()])
                    progress(file.tell())
            except UnreachableError:
                if file.tell() == offset:
                    raise
            if file.tell() == offset:
                raise CorruptError(f"The coordinator's copy of {part.stem} is shorter than it says.", _TELL)
        file.flush()
        os.fsync(file.fileno())


def _publish(part: Path, target: Path, sha256: str) -> None:
    if sha256_file(part) != sha256:
        part.unlink()
        raise CorruptError(
            f"{target.name} arrived altered: its SHA-256 is not {sha256[:16]}…; it is not used.",
            f"Try again. {_TELL}",
        )
    publish(part, target)


_TELL = "If it happens again, tell the maintainer: the file may be damaged at the coordinator."


def _is_there(target: Path, sha256: str, size: int) -> bool:
    return _length(target) == size and target.is_file() and sha256_file(target) == sha256


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def require_space(folder: Path, needed: int) -> None:
    """Raises DiskError when the folder's disk has not `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(
            f"The disk of {folder} has {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB are needed.",
            "Free some space, or choose another disk.",
        )


def _silent(_: int) -> None:
    """For callers that show nothing."""
