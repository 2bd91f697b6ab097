"""The frozen base that adapters are trained on: its files as blobs, taken from a folder, put together as a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peer.held import found
from swarm import stamps
from swarm.chunks import CHUNK, Manifest, blob_of, chunked, require_data
from swarm.errors import ModelError, from_os_error
from swarm.tensorfile import atomic_write

INDEX = "model.safetensors.index.json"


def base_blobs(folder: Path, blobs: Path) -> list[dict[str, Any]]:
    """Put the weights of the model in `folder` into the blob store `blobs`, and say what artefacts.json says of them.

    Weights are *.safetensors and their index. They are linked where the disk allows it, else copied. Raises ModelError
    when there are none.
    """
    paths = sorted([*folder.glob("*.safetensors"), *folder.glob(INDEX)])
    if not paths:
        raise ModelError(f"{folder} holds no *.safetensors files.", "Give the folder of a model with its weights.")
    return [_blob(path, blobs) for path in paths]


def _blob(path: Path, blobs: Path) -> dict[str, Any]:
    sha256, size, chunks = chunked(path)
    facts = {"name": path.name, "sha256": sha256, "size": size, "chunk_size": CHUNK, "chunks": chunks.hex()}
    target = blobs / sha256
    if not (target.exists() and target.stat().st_size == size):
        _link_or_copy(path.resolve(), target)
        stamps.stamp(target, sha256)
    return facts


def manifests(facts: Sequence[dict[str, Any]]) -> list[Manifest]:
    """The files that a setup or artefacts.json names. Raises CorruptError for nonsense."""
    return [Manifest.of(blob_of(item)) for item in facts]


def missing(files: Sequence[Manifest], cache: Path) -> list[Manifest]:
    """Those that are not in the cache. Raises CorruptError, naming it, for one that was altered there."""
    return [manifest for manifest in files if found(manifest, cache) is None]


def link(path: Path, name: Path) -> None:
    """Make `name` another name of the file: a hard link, or a symbolic one to another disk.

    Where that is right already nobody who reads it is disturbed, and several processes may do it at once.
    """
    if name.exists() and name.samefile(path):
        return
    temporary = name.with_name(f".{name.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(path.resolve())
    except OSError:
        temporary.symlink_to(path.resolve())
    temporary.replace(name)
    temporary.unlink(missing_ok=True)  # another process was faster: both are the same file then, and neither is moved


def adopt(files: Sequence[Manifest], folder: Path, cache: Path, take: Callable[[Path, Path], object] = link) -> None:
    """Let the cache have the files from `folder`, each under its own name there; they are linked, or what `take` does.

    Raises ModelError, naming the file, when one is not there or is another than the run's; DiskError.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for manifest in missing(files, cache):
            path = (folder / manifest.name).resolve()
            _require_same(manifest, path, folder)
            take(path, cache / manifest.sha256)
            stamps.stamp(cache / manifest.sha256, manifest.sha256)
    except OSError as error:
        raise from_os_error(error, "taking over the base model") from error


def _require_same(manifest: Manifest, path: Path, folder: Path) -> None:
    if not path.is_file():
        raise ModelError(
            f"{folder} holds no {manifest.name}, so it is not the base of this run.",
            "Give the folder of the right model with --base, or leave --base out: the files are fetched then.",
        )
    sha256, _, digests = chunked(path, manifest.chunk_size or CHUNK)
    if sha256 == manifest.sha256:
        return
    here = [digests[i : i + 32] for i in range(0, len(digests), 32)]
    differs = sum(mine != theirs for mine, theirs in zip(here, manifest.digests, strict=False))
    raise ModelError(
        f"{path} differs from the run's {manifest.name} ({path.stat().st_size} bytes instead of {manifest.size}, "
        f"{differs} of {manifest.count} chunks): the base in that folder is another one than this run's.",
        "Give the folder of the right model and revision with --base, or leave --base out: the files are fetched then.",
    )


def model_folder(folder: Path, files: Sequence[Manifest], cache: Path) -> None:
    """Give the base's files their own names in the model's folder, where transformers looks for them. Raises
    CorruptError for files that are no weights.
    """
    for manifest in files:
        require_data(manifest.name)
        link(cache / manifest.sha256, folder / manifest.name)


def _link_or_copy(path: Path, target: Path) -> None:
    """A coordinator's folder is complete in itself, so a file on another disk is copied."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(path)
    except OSError:
        with path.open("rb") as source, atomic_write(target) as file:
            shutil.copyfileobj(source, file)
