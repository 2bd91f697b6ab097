"""Nothing of a bundle is loaded before every byte of it was checked against its manifest."""

from __future__ import annotations

from pathlib import Path

from swarm.bundle import manifest
from swarm.bundle.manifest import Bundle, Part
from swarm.errors import CorruptError
from swarm.tensorfile import sha256_file

_EXECUTABLE = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".msgpack", ".h5")  # weights that may run code when they load


def verified(folder: Path) -> Bundle:
    """The manifest, once each part was there with its size and SHA-256, and nothing else that a loader might read.

    Raises CorruptError, which names the file; DiskError.
    """
    bundle = manifest.read(folder)
    for part in bundle.parts:
        _require(part, folder / part.path)
    known = {part.path for part in bundle.parts} | {manifest.FILE}
    for path in sorted(found for found in folder.rglob("*") if found.is_symlink() or not found.is_dir()):
        name = path.relative_to(folder).as_posix()
        if name not in known and not name.startswith(f"{manifest.SIGNATURES}/"):
            raise _refused(name, "the manifest does not name it")
    return bundle


def facts(folder: Path) -> list[tuple[str, int, int, int]]:
    """Of every file: its path, which one it is, its size, and when anything of it changed last (Unix ns), which nobody
    can set back. The same before and after: nobody changed a file that was verified while it was read again.
    """
    found = ((path, path.lstat()) for path in sorted(folder.rglob("*")))
    return [(str(path), it.st_ino, it.st_size, it.st_ctime_ns) for path, it in found]


def _require(part: Part, path: Path) -> None:
    if path.suffix in _EXECUTABLE:
        raise _refused(part.path, "weights of this kind can hold programs; only safetensors are loaded")
    if any(parent.is_symlink() for parent in (path, *path.parents[: part.path.count("/")])) or not path.is_file():
        raise _refused(part.path, "it is missing, or no plain file")
    if path.stat().st_size != part.size or sha256_file(path) != part.sha256:
        raise _refused(part.path, "its bytes are not those that the manifest names")


def _refused(name: str, why: str) -> CorruptError:
    return CorruptError(f"{name} of the bundle is refused: {why}.", "Get the bundle again from its publisher.")
