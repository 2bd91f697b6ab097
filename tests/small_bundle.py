"""A small bundle for tests: files of a few bytes, or as many as a test wants, with a right manifest."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

from swarm.bundle.folder import kind_of
from swarm.bundle.manifest import FILE, Bundle, Lineage, Part

NAMES = ("README.md", "config.json", "model.safetensors", "plugins/clock.py", "tokenizer.json")
LINEAGE = Lineage(
    run="small",
    fingerprint="ab" * 16,
    spec="1" * 64,
    data="2" * 64,
    round=7,
    state="3" * 64,
    ledger="4" * 64,
    samples=1000,
)


def small_bundle(folder: Path, files: dict[str, bytes] | None = None, **values: Any) -> Bundle:
    """Write a bundle of `files` to `folder`, with a manifest of `values`, and what stands for a signature."""
    files = files or {name: f"{name} of a small model\n".encode() * 50 for name in NAMES}
    papers = {"signatures/ab12.sig": b"a signature", "signatures/ab12.pub": b"its key"}
    for name, data in {**files, **papers}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    parts = [
        Part(path=name, kind=kind_of(name) or "weights", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        for name, data in sorted(files.items())
    ]
    facts = {"name": "small-model", "version": "1.0", "license": "Apache-2.0", "created": "2026-11-01T12:00:00Z"}
    bundle = Bundle(parts=tuple(parts), lineage=LINEAGE, **{**facts, **values})
    (folder / FILE).write_bytes(bundle.to_bytes())
    return bundle


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that nothing makes smaller, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
