"""Artefacts that tests share: equal specs and data make equal ones (tests/integration/test_prepare.py proves it), and
making them loads torch. So the first test that launches a run prepares it, and the next ones copy.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from peer.artefacts import spec_key
from swarm.endmark import marked
from swarm.runspec import load
from swarm.tensorfile import sha256_file

CORPUS = "corpus.txt"
KEPT = "SWARM_TESTS_PREPARED"  # the environment names the folder of artefacts that tests share; without, none are
_LASTING = ("artefacts.json", "model", "blobs")


def take(spec: Path, folder: Path) -> None:
    """Put what an equal spec was prepared to where the coordinator looks for it, if a test has kept it and the folder
    is a new one.
    """
    kept = _place(spec)
    if kept is None or not kept.exists() or folder.exists():
        return
    shutil.copytree(kept, folder)
    (folder / "run.toml").write_text(marked(load(spec).to_toml()))


def keep(spec: Path, folder: Path) -> None:
    """Keep the artefacts of a run that was launched this moment."""
    kept = _place(spec)
    if kept is None or kept.exists():
        return
    making = kept.with_suffix(f".{os.getpid()}")
    shutil.copytree(folder, making, ignore=lambda at, names: set(names) - set(_LASTING) if at == str(folder) else ())
    try:
        making.rename(kept)
    except OSError:  # another process of pytest was first
        shutil.rmtree(making)


def _place(spec: Path) -> Path | None:
    """Where artefacts of such a spec are kept; None where none are, and for a run with files of its own."""
    kept, corpus = os.environ.get(KEPT), spec.parent / CORPUS
    if not kept or not corpus.exists():
        return None
    run = load(spec)
    if not run.model.source.startswith("preset:") or run.data.source != CORPUS or run.data.shards:
        return None
    return Path(kept) / f"{spec_key(run)[:12]}-{sha256_file(corpus)[:12]}"
