"""Files named by the SHA-256 of their bytes, with uploads that resume. Nothing is there until all of it is.

Of an upload `<sha256>.<whose>.part` is there: each member has one of its own.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from weakref import WeakValueDictionary

from swarm import stamps
from swarm.errors import CorruptError, NotFoundError, UsageError, from_os_error
from swarm.streams import CHUNK
from swarm.tensorfile import is_sha256, publish, sha256_file


class Blobs:
    """The blobs in `folder`; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._uploads: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def path(self, sha256: str) -> Path:
        """Where the blob is or would be. Raises UsageError for anything that is no SHA-256: names come from outside."""
        if not is_sha256(sha256):
            raise UsageError("A file is asked for by its SHA-256, 64 hexadecimal digits.", "Use the same version.")
        return self._folder / sha256

    def arrived(self, sha256: str, by: str) -> int:
        """How many bytes of that member's upload are here."""
        return _size(self._part(sha256, by))

    def receive(self, sha256: str, size: int, offset: int, chunks: Iterable[bytes], by: str) -> bool:
        """Take the bytes of a member's upload from `offset` on; True when the blob is whole, verified and in place.

        Others' uploads of the same blob neither wait for it nor go on where it broke off: it may never end, or bring
        other bytes. Raises UsageError when `offset` leaves a gap, CorruptError when the bytes have another SHA-256
        (they are thrown away), DiskError.
        """
        part = self._part(sha256, by)
        with self._upload(part.name):
            try:
                if not self.path(sha256).exists():
                    _append(part, size, offset, chunks)
                return self.path(sha256).exists() or (_size(part) == size and self._publish(part, sha256))
            except OSError as error:
                if self.path(sha256).exists():  # another's upload was faster, and took our part away
                    return True
                raise from_os_error(error, "keeping an uploaded file") from error

    def read(self, sha256: str, size: int, offset: int) -> Iterator[bytes]:
        """The blob's bytes from `offset` on. Raises NotFoundError, CorruptError when its length is another."""
        path = self.path(sha256)
        if not path.exists():
            raise NotFoundError(f"The file {sha256[:16]}… is not kept any more.", "Ask for the run again.")
        if path.stat().st_size != size:
            raise _torn(path, f"it has {path.stat().st_size} bytes instead of {size}")
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK):
                yield chunk

    def verify(self, sha256: str) -> Path:
        """The path of a blob whose bytes were checked. Raises CorruptError, naming the file, or NotFoundError."""
        path = self.path(sha256)
        if not path.exists():
            raise NotFoundError(f"The file {path} is missing.", "Restore it from a copy, or launch the run anew.")
        if sha256_file(path) != sha256:
            raise _torn(path, "its SHA-256 is another")
        return path

    def verify_once(self, sha256: str, size: int) -> None:
        """As `verify`, for files of gigabytes: what was verified and has not changed since is not read again."""
        path = self.path(sha256)
        try:
            right = stamps.verified(path, sha256, size)
        except FileNotFoundError as error:
            raise NotFoundError(f"The file {path} is missing.", "Restore it, or launch the run anew.") from error
        if not right:
            raise _torn(path, "its size or SHA-256 is another")

    def delete(self, sha256: str) -> None:
        """Forget a blob, and what had arrived of it."""
        self.path(sha256).unlink(missing_ok=True)
        self._forget_parts(sha256)

    def _upload(self, name: str) -> threading.Lock:
        """The lock of one upload; forgotten when it has ended."""
        with self._lock:
            return self._uploads.setdefault(name, threading.Lock())

    def _part(self, sha256: str, by: str) -> Path:
        return self.path(sha256).with_suffix(f".{hashlib.sha256(by.encode()).hexdigest()[:16]}.part")

    def _forget_parts(self, sha256: str) -> None:
        for part in self._folder.glob(f"{sha256}.*part"):
            part.unlink(missing_ok=True)

    def _publish(self, part: Path, sha256: str) -> bool:
        if sha256_file(part) != sha256:
            part.unlink()
            raise CorruptError("What arrived is not the file that was offered; it was thrown away.", "Send it again.")
        publish(part, self.path(sha256))
        self._forget_parts(sha256)
        return True


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _append(part: Path, size: int, offset: int, chunks: Iterable[bytes]) -> None:
    with part.open("ab") as file:
        here = file.seek(0, os.SEEK_END)
        if offset > here:
            raise UsageError(f"The upload goes on at byte {offset}, but only {here} are here.", "Offer it again.")
        file.truncate(offset)
        file.seek(offset)
        for chunk in chunks:
            file.write(chunk[: max(0, size - file.tell())])
        file.flush()
        os.fsync(file.fileno())


def _torn(path: Path, why: str) -> CorruptError:
    what = f"{path.name} is torn or was altered: {why}; it is not used."
    return CorruptError(what, f"Restore blobs/{path.name} from a copy of the run's folder.")
