"""Big files that were verified once are not hashed again until they change."""

from __future__ import annotations

import json
from pathlib import Path

from swarm.tensorfile import atomic_write, sha256_file, sync


def verified(path: Path, sha256: str, size: int) -> bool:
    """Whether the file has this size and SHA-256. It is hashed unless it was before, and has its size and time since.

    The note of that lies beside it, `<name>.stamp`. Raises FileNotFoundError.
    """
    if path.stat().st_size != size:
        return False
    if _stamped(path, sha256):
        return True
    before = _facts(path, sha256)
    if sha256_file(path) != sha256:
        return False
    _write(path, before)
    return True


def stamp(path: Path, sha256: str) -> None:
    """Note that the file was verified just now."""
    _write(path, _facts(path, sha256))


def _stamped(path: Path, sha256: str) -> bool:
    try:
        return bool(json.loads(_note(path).read_text()) == _facts(path, sha256))
    except (FileNotFoundError, ValueError):
        return False


def _facts(path: Path, sha256: str) -> dict[str, object]:
    facts = path.stat()
    return {"sha256": sha256, "size": facts.st_size, "mtime_ns": facts.st_mtime_ns}


def _write(path: Path, facts: dict[str, object]) -> None:
    """The file first: after a power cut the note must not speak for bytes that never reached the disk."""
    sync(path)
    with atomic_write(_note(path)) as file:
        file.write(json.dumps(facts).encode())


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.stamp")
