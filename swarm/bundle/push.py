"""A bundle's way into a registry: files first, the manifest last, so that nobody finds half a bundle.

A blob that the registry has is not sent again. One that broke off goes on at the offset that the registry names, as
long as it keeps the upload open: its address is noted in `notes`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from swarm import notes
from swarm.bundle import manifest, oci
from swarm.bundle.folder import require_bundle
from swarm.bundle.journey import Journey
from swarm.bundle.manifest import FILE, PATH, SIGNATURES, Bundle
from swarm.bundle.registry import AT_ONCE, Registry
from swarm.errors import CorruptError, OverloadError, UnreachableError, from_os_error
from swarm.tensorfile import region, sha256_file
from swarm.units import size

_TRIES = 3  # of a blob whose line broke off, or whose upload the registry forgot


@dataclass(frozen=True)
class Cargo:
    """All that a push brings: the files, and the two documents that a registry wants of them."""

    bundle: Bundle
    files: tuple[oci.Layer, ...]
    config: bytes
    manifest: bytes

    @property
    def sha256(self) -> str:
        """Of the manifest: what the bundle is known by in every registry."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def blobs(self) -> tuple[oci.Layer, ...]:
        """Each content once, the largest first: then the last ones to end are small."""
        return tuple(sorted({file.sha256: file for file in self.files}.values(), key=lambda file: -file.size))


def packed(folder: Path) -> Cargo:
    """What to push of the bundle in `folder`. Raises CorruptError for files that are not there as its manifest says,
    NotFoundError where there is no bundle.
    """
    require_bundle(folder)
    bundle = manifest.read(folder)
    try:
        files = oci.layers(bundle, [_paper(folder, path) for path in _papers(folder)])
        for file in files:
            _require_size(folder, file)
    except OSError as error:
        raise from_os_error(error, "reading the bundle") from error
    config = oci.config(bundle, files)
    whole = oci.manifest(bundle, hashlib.sha256(config).hexdigest(), len(config), files)
    return Cargo(bundle, files, config, whole)


def push(folder: Path, cargo: Cargo, registry: Registry, tag: str, uploads: Path, journey: Journey) -> None:
    """Bring it there. Raises what Registry raises, CorruptError for a file that was altered, DiskError."""
    try:
        uploads.mkdir(parents=True, exist_ok=True)
        jobs = [partial(_bring, folder, file, registry, uploads, journey) for file in cargo.blobs]
        journey.all(jobs, AT_ONCE)
    except OSError as error:
        raise from_os_error(error, "reading the bundle") from error
    sha256 = hashlib.sha256(cargo.config).hexdigest()
    if not registry.has(sha256):
        registry.finish(registry.send(registry.begin(), lambda: iter([cargo.config]), 0, len(cargo.config)), sha256)
    registry.put_manifest(tag, cargo.manifest)


def _papers(folder: Path) -> list[str]:
    """The manifest, and each signature with its key."""
    signatures = sorted(f"{SIGNATURES}/{path.name}" for path in (folder / SIGNATURES).glob("*") if path.is_file())
    return [FILE, *(path for path in signatures if re.fullmatch(PATH, path))]


def _paper(folder: Path, path: str) -> tuple[str, str, int]:
    return path, sha256_file(folder / path), (folder / path).stat().st_size


def _require_size(folder: Path, file: oci.Layer) -> None:
    path = folder / file.path
    found = path.stat().st_size if path.is_file() else -1
    if found != file.size:
        why = "is missing" if found < 0 else f"has {found} bytes and should have {file.size}"
        raise CorruptError(f"{path} {why}: the bundle is not whole.", "Make it again, or get it from its publisher.")


def _bring(folder: Path, file: oci.Layer, registry: Registry, uploads: Path, journey: Journey) -> None:
    note = uploads / _key(registry, file)
    if there := registry.has(file.sha256):
        journey.moved(file.size)
    else:
        _persist(lambda: _upload(folder / file.path, file, registry, note, journey))
    note.unlink(missing_ok=True)
    journey.say(f"{file.path}: {'there already' if there else f'pushed ({size(file.size)})'}")


def _persist(upload: Callable[[], None]) -> None:
    """Try again where a line broke; each time the registry is asked what it has."""
    for last in (False,) * (_TRIES - 1) + (True,):
        try:
            upload()
            break
        except UnreachableError as error:
            if last or isinstance(error, OverloadError):
                raise


def _upload(path: Path, file: oci.Layer, registry: Registry, note: Path, journey: Journey) -> None:
    """Send what the registry has not yet of one blob. A try that fails takes back what it told of its progress."""
    upload, offset = _opened(registry, note)
    notes.keep(note, upload)
    sent = _Told(journey)
    try:
        sent.moved(offset)
        if offset < file.size:
            upload = registry.send(upload, partial(_pieces, path, offset, file.size, sent), offset, file.size - offset)
        registry.finish(upload, file.sha256)
    except CorruptError:
        note.unlink(missing_ok=True)  # what the registry has of it is wrong: nothing to go on with
        raise
    except UnreachableError:
        sent.take_back()
        raise


class _Told:
    """How much of a blob was said to have moved."""

    def __init__(self, journey: Journey) -> None:
        self._journey = journey
        self._count = 0

    def moved(self, count: int) -> None:
        self._count += count
        self._journey.moved(count)

    def take_back(self) -> None:
        self.moved(-self._count)


def _opened(registry: Registry, note: Path) -> tuple[str, int]:
    """An upload and how many bytes it has: the one that broke off, if the registry still knows it, or a new one."""
    kept = notes.kept(note)
    return (registry.resume(kept) if kept else None) or (registry.begin(), 0)


def _pieces(path: Path, offset: int, end: int, sent: _Told) -> Iterator[bytes]:
    """The file's bytes; exactly as many as were announced, or the registry would wait for the rest."""
    left = end - offset
    with path.open("rb") as opened:
        for piece in region(opened, offset, end - offset):
            yield piece
            left -= len(piece)
            sent.moved(len(piece))
    if left:
        raise CorruptError(f"{path} became shorter while it was sent.", "Make the bundle again.")


def _key(registry: Registry, file: oci.Layer) -> str:
    where = registry.reference
    return hashlib.sha256(f"{where.host}/{where.name}@{file.sha256}".encode()).hexdigest()
