"""A bundle's way out of a registry: into a folder that is there as a whole or not at all.

Until then all lies in `.FOLDER.pull` beside it: blobs by their SHA-256, checked while they stream. One that broke off
goes on where it stopped, also after a kill; one that is whole is not fetched again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import FileIO
from pathlib import Path

from swarm import placing
from swarm.bundle import manifest, oci
from swarm.bundle.journey import Journey
from swarm.bundle.manifest import FILE, LARGEST, Bundle
from swarm.bundle.registry import AT_ONCE, Registry
from swarm.errors import CorruptError, UnreachableError, UsageError, from_os_error
from swarm.lock import HeldError, hold
from swarm.tensorfile import publish, region
from swarm.transfer import require_space
from swarm.units import size

_BEHIND = 16 << 20  # bytes of a blob that may wait in memory before the disk is set to work


def described(registry: Registry) -> tuple[tuple[oci.Layer, ...], str]:
    """The files that the reference names, and the manifest's SHA-256. Raises CorruptError when it is not the one that
    was asked for, or no bundle's; and what Registry raises.
    """
    data = registry.manifest()
    sha256 = hashlib.sha256(data).hexdigest()
    wanted = registry.reference.sha256
    if wanted and sha256 != wanted:
        raise CorruptError(
            f"{registry.reference.host} gives another manifest (sha256:{sha256[:16]}…) than {registry.reference}.",
            "Do not use that registry; ask the publisher for another place.",
        )
    return oci.parse(data, str(registry.reference)), sha256


def pull(registry: Registry, files: tuple[oci.Layer, ...], target: Path, journey: Journey) -> Bundle:
    """Fetch the files to the new folder `target`. The little that says what it is comes first, then the rest.

    Raises UsageError for a folder that is not empty, CorruptError, DiskError, and what Registry raises.
    """
    _require_empty(target)
    try:
        with _working(target) as stage:
            bundle = _first_look(registry, files, stage, journey)
            blobs = sorted({file.sha256: file for file in files}.values(), key=lambda file: -file.size)
            require_space(stage, sum(file.size - _held(stage, file) for file in blobs))
            journey.all([partial(_fetch, registry, file, stage, journey) for file in blobs], AT_ONCE)
            _place(stage, files, target)
    except OSError as error:
        raise from_os_error(error, f"pulling a bundle to {target}") from error
    return bundle


def _require_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there already and not empty.", "Name a new folder.")


@contextmanager
def _working(target: Path) -> Iterator[Path]:
    """The folder beside `target` for this process alone. It stays when something fails: the next pull goes on there."""
    stage = target.absolute().with_name(f".{target.absolute().name}.pull")
    stage.mkdir(parents=True, exist_ok=True)
    try:
        lock = hold(stage / "lock")
    except HeldError as error:
        raise UsageError(
            f"Another process ({error.process}) is pulling {target}.", "Wait for it, or name another folder."
        ) from error
    with lock:
        yield stage
        shutil.rmtree(stage, ignore_errors=True)


def _first_look(registry: Registry, files: tuple[oci.Layer, ...], stage: Path, journey: Journey) -> Bundle:
    """The bundle's own manifest, before anything large is fetched: the layers must be what it lists."""
    [own] = [file for file in files if file.path == FILE]
    origin = str(registry.reference)
    if own.size > LARGEST:
        raise CorruptError(
            f"The {FILE} of {origin} has {own.size} bytes; none has more than {LARGEST}.", "Check the name."
        )
    _fetch(registry, own, stage, journey, counted=False)
    bundle = manifest.parse((stage / own.sha256).read_bytes(), f"{FILE} of {origin}")
    oci.require_all(files, bundle, origin)
    return bundle


def _held(stage: Path, file: oci.Layer) -> int:
    """Bytes of a blob that are on the disk already."""
    found = [stage / file.sha256, stage / f"{file.sha256}.part"]
    return min(file.size, max((path.stat().st_size for path in found if path.exists()), default=0))


def _fetch(registry: Registry, file: oci.Layer, stage: Path, journey: Journey, counted: bool = True) -> None:
    """Have the blob whole in `stage`; a name without .part is given only to what was checked and synced."""
    moved = journey.moved if counted else lambda _: None
    if (stage / file.sha256).exists():
        moved(file.size)
        return
    path = stage / f"{file.sha256}.part"
    with path.open("a+b", buffering=0) as opened:
        part = _Part.of(opened, file.size)
        moved(part.length)
        _fill(part, registry, file, moved)
        if part.sha256() != file.sha256:
            path.unlink()
            raise CorruptError(
                f"{file.path} arrived altered: its SHA-256 is not {file.sha256[:16]}…; it is not used.",
                "Try again; if it happens again, that registry's copy is damaged: tell the publisher.",
            )
        os.fsync(opened.fileno())
    path.rename(stage / file.sha256)
    if counted:
        journey.say(f"{file.path}: pulled ({size(file.size)})")


class _Part:
    """A blob's file while it grows. It is hashed on its way to the disk, so that nobody has to read it again."""

    def __init__(self, opened: FileIO) -> None:
        self._opened = opened
        self._digest = hashlib.sha256()
        self._begun = 0  # bytes that the disk was told to write
        self.length = 0  # bytes

    @classmethod
    def of(cls, opened: FileIO, largest: int) -> _Part:
        """With what is there from before; more than `largest` bytes are none of the blob."""
        if opened.seek(0, os.SEEK_END) > largest:
            opened.truncate(0)
        part = cls(opened)
        for data in region(opened, 0, largest):
            part._take(data)
        return part

    def add(self, data: bytes) -> None:
        """Raises OSError, also for a disk that took a part of it and is full now."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._opened.write(rest) :]
        self._take(data)
        if self.length - self._begun >= _BEHIND:
            self._begin_to_write()

    def sha256(self) -> str:
        return self._digest.hexdigest()

    def _take(self, data: bytes) -> None:
        self._digest.update(data)
        self.length += len(data)

    def _begin_to_write(self) -> None:
        """Set the disk to work and do not wait for it; else it begins with the last sync, and all wait for that.

        Linux begins to write what it is told will not be needed, and keeps it in memory as long as it is not written.
        """
        if sys.platform == "linux":
            os.posix_fadvise(self._opened.fileno(), self._begun, self.length - self._begun, os.POSIX_FADV_DONTNEED)
        self._begun = self.length


def _fill(part: _Part, registry: Registry, file: oci.Layer, moved: Callable[[int], None]) -> None:
    """Write until the blob is whole. A line that breaks is dialled again as long as it brings something."""
    while (offset := part.length) < file.size:
        try:
            with registry.read(file.sha256, offset) as pieces:
                for data in pieces:
                    if part.length + len(data) > file.size:
                        raise _other_size(file, "longer")
                    part.add(data)
                    moved(len(data))
        except UnreachableError:
            if part.length == offset:
                raise
        if part.length == offset:
            raise _other_size(file, "shorter")


def _other_size(file: oci.Layer, how: str) -> CorruptError:
    return CorruptError(
        f"The registry's copy of {file.path} is {how} than its manifest says; it is not used.", "Tell the publisher."
    )


def _place(stage: Path, files: tuple[oci.Layer, ...], target: Path) -> None:
    """Give the blobs their names in a folder of their own, and that folder its name."""
    whole = stage / "bundle"
    shutil.rmtree(whole, ignore_errors=True)
    for file in files:
        place = whole / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        placing.carry(stage / file.sha256, place)
    placing.sync_all(whole)
    publish(whole, target)
