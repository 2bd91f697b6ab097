"""The model that a bundle which is only an adapter belongs to: given by the user, or in this machine's cache."""

from __future__ import annotations

from pathlib import Path

from peer.base import INDEX
from swarm import paths
from swarm.bundle.lineage import listing
from swarm.bundle.manifest import Base, Bundle
from swarm.errors import CorruptError, NotFoundError
from swarm.tensorfile import sha256_file


def base_of(bundle: Bundle, folder: Path, given: Path | None) -> Path:
    """A folder with its configuration and weights, whose digest is the one that the bundle names.

    Raises NotFoundError, CorruptError.
    """
    base = bundle.lineage.base
    if base is None:
        raise CorruptError(f"{bundle.name} is an adapter and names no base.", "Get the bundle again.")
    if given is None:
        return _cached(base, folder)
    if (found := weights_digest(given)) != base.sha256:
        raise CorruptError(
            f"The model in {given} is not the base of {bundle.name}: its weights have the digest {found[:16]}…, and "
            f"{base.sha256[:16]}… is right.",
            f"Get {base.source} at revision {base.revision or 'unknown'}.",
        )
    return given


def weights_digest(folder: Path) -> str:
    """Of the safetensors files and their index in the order of their names; see `listing`."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob(INDEX)], key=lambda path: path.name)
    return listing([sha256_file(path) for path in files])


def _cached(base: Base, folder: Path) -> Path:
    """A base of one file, which the cache names by its digest; the configuration must be in the bundle."""
    blobs = paths.cache() / "blobs"
    known = (path for path in (blobs.iterdir() if blobs.is_dir() else ()) if listing([path.name]) == base.sha256)
    blob = next(known, None)
    if blob is None or not (folder / "config.json").is_file():
        raise NotFoundError(
            f"The bundle is an adapter of {base.source}, and this machine's cache does not have that model.",
            f"Get {base.source} (revision {base.revision or 'unknown'}) and name its folder with --base FOLDER.",
        )
    if sha256_file(blob) != blob.name:
        raise CorruptError(f"{blob} is torn or was altered; it is not used.", "Delete it and fetch the base again.")
    return _folder(base, blob, folder)


def _folder(base: Base, blob: Path, folder: Path) -> Path:
    made = paths.cache() / "bases" / base.sha256
    made.mkdir(parents=True, exist_ok=True)
    (made / "config.json").write_bytes((folder / "config.json").read_bytes())
    weights = made / "model.safetensors"
    weights.unlink(missing_ok=True)
    weights.symlink_to(blob)
    return made
