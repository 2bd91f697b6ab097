"""The files that a peer holds, whole or on their way, and what others may have of them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from swarm import stamps
from swarm.chunks import Manifest
from swarm.errors import CorruptError
from swarm.tensorfile import publish, region, sha256_file

STREAMS = 4  # chunks that are sent at once; more would slow down each other and the training
_STREAM_SECONDS = 300.0  # a stream to somebody who stopped reading counts no longer than this


@dataclass
class Held:
    """A file of which the chunks `here` are on this disk and verified."""

    manifest: Manifest
    path: Path
    here: set[int] = field(default_factory=set)

    def parts(self, chunk: int) -> Iterator[bytes]:
        """The bytes of a chunk in pieces of at most 512 KiB."""
        with self.path.open("rb") as file:
            yield from region(file, *self.manifest.span(chunk))


def found(manifest: Manifest, folder: Path) -> Held | None:
    """The file when it is whole in `folder`; None when it is not there.

    Raises CorruptError, naming it, when something else lies in its place.
    """
    path = folder / manifest.sha256
    try:
        right = stamps.verified(path, manifest.sha256, manifest.size)
    except FileNotFoundError:
        return None
    if not right:
        raise CorruptError(
            f"{path}, which should be {manifest.name}, is torn or was altered; it is not used.",
            "Delete it; it is fetched again then.",
        )
    return Held(manifest, path, set(range(manifest.count)))


class Part:
    """A file on its way: `<sha256>.part`, sparse, each chunk in its place; its digests say which are there."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.held = Held(manifest, folder / f"{manifest.sha256}.part")
        self._target = folder / manifest.sha256
        self._file = -1

    def open(self) -> bool:
        """Take hold of the file and see which chunks it has; False while another process of this machine has hold."""
        self._file = os.open(self.held.path, os.O_RDWR | os.O_CREAT, 0o644)
        if not self._lock():
            self.close()
            return False
        if self._target.exists():  # another process was faster, and this one may just have made its part anew
            self.held.path.unlink()
            self.close()
            return False
        if os.fstat(self._file).st_size:
            self.held.here.update(chunk for chunk in range(self.held.manifest.count) if self.check(chunk))
        os.truncate(self._file, self.held.manifest.size)
        return True

    def close(self) -> None:
        """Let go of the file; what it has stays for the next time."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self) -> bool:
        """Whoever had hold may have renamed or removed the file meanwhile: then ours is not the one of that name."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fstat(self._file).st_ino == self.held.path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            return False

    def write(self, chunk: int, data: bytes) -> bool:
        """Put a chunk in its place when it is the right one; False when it is another."""
        if hashlib.sha256(data).digest() != self.held.manifest.digests[chunk]:
            return False
        _write_all(self._file, data, self.held.manifest.span(chunk)[0])
        return True

    def check(self, chunk: int) -> bool:
        """Whether the chunk in the file is the right one."""
        digest = hashlib.sha256()
        for data in self.held.parts(chunk):
            digest.update(data)
        return digest.digest() == self.held.manifest.digests[chunk]

    def finish(self) -> None:
        """All chunks are here: give the file its name. Raises CorruptError when it is not the file it should be."""
        manifest, part = self.held.manifest, self.held.path
        os.fsync(self._file)
        if sha256_file(part) != manifest.sha256:
            part.unlink()
            raise CorruptError(
                f"The run's chunks of {manifest.name} do not make up that file; it is not used.",
                "Tell the run's maintainer: its artefacts are damaged, and it must be prepared again.",
            )
        stamps.stamp(part, manifest.sha256)
        publish(part.with_name(f"{part.name}.stamp"), self._target.with_name(f"{self._target.name}.stamp"))
        publish(part, self._target)
        self.held.path = self._target


def _write_all(file: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written


class Shelf:
    """What this peer gives to others. For use in one thread, the network's."""

    def __init__(self) -> None:
        self._files: dict[str, Held] = {}
        self._streams: dict[object, float] = {}

    def put(self, held: Held) -> None:
        self._files[held.manifest.sha256] = held

    def drop(self, sha256: str) -> None:
        self._files.pop(sha256, None)

    def get(self, sha256: str) -> Held | None:
        return self._files.get(sha256)

    @contextmanager
    def stream(self) -> Iterator[bool]:
        """Count as one who is served; False when too many are already."""
        now, mine = time.monotonic(), object()
        free = sum(now - since < _STREAM_SECONDS for since in self._streams.values()) < STREAMS
        if free:
            self._streams[mine] = now
        try:
            yield free
        finally:
            self._streams.pop(mine, None)
