"""A coordinator's data directory, with a history or served, made in milliseconds and without processes."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from coordinator import decisions as d
from coordinator import events as e
from coordinator.records import Checkpoint, Trust
from coordinator.server import Coordinator, Settings
from coordinator.state import State
from coordinator.store import open_store
from swarm.identity import server_certificate
from swarm.invite import Invite
from swarm.runspec import example, load
from swarm.tensorfile import state_digest
from tests.histories import TERMS, History

TOKEN = "c2VjcmV0LW9mLWEtdGVzdA"  # of the length that a coordinator makes


class Quiet(History):
    """No member offers a checkpoint: their files would have to be there."""

    def _checkpoint(self, rng: random.Random, who: str) -> e.Event:
        return e.Resumed()


def blob(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    """Keep the content as a blob; how artefacts.json names it."""
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    (folder / "blobs" / sha256).write_bytes(content)
    return {"name": name, "sha256": sha256, "size": len(content)}


def checkpoint(folder: Path, round_: int) -> Checkpoint:
    """Keep a state of that round as a blob."""
    made = blob(folder, "", save({"model/w": np.full(4, round_, np.float32)}))
    digest = state_digest(folder / "blobs" / made["sha256"])
    return Checkpoint(round_, digest, made["sha256"], made["size"], 8 * round_)


def prepared(folder: Path) -> Checkpoint:
    """What `swarm data prepare` leaves; the checkpoint that the run begins with."""
    first = checkpoint(folder, 0)
    artefacts = {
        "model": [blob(folder, "config.json", b"{}")],
        "shards": [blob(folder, "shard-00000.safetensors", b"samples")],
        "heldout": blob(folder, "heldout.safetensors", b"other samples"),
        "layout": {"shard_samples": [TERMS.epoch_samples], "sequence_length": 8, "seed": 0, "targets_per_sample": 8.0},
        "facts": {},
        "checkpoint": {key: value for key, value in asdict(first).items() if key not in ("created_at", "uploaded_by")},
        "base": [],
    }
    (folder / "artefacts.json").write_text(json.dumps(artefacts))
    (folder / "model").mkdir()
    (folder / "model" / "config.json").hardlink_to(folder / "blobs" / str(artefacts["model"][0]["sha256"]))  # type: ignore[index]
    spec = example()
    run, training = spec.run.model_copy(update={"name": TERMS.run}), {"rounds": TERMS.total_rounds}
    spec = spec.model_copy(update={"run": run, "training": spec.training.model_copy(update=training)})
    (folder / "run.toml").write_text(spec.to_toml())
    return first


def small_run(folder: Path, seed: int = 18, steps: int = 120) -> State:
    """A run that was launched and has a history; its state."""
    first = prepared(folder)
    certificate = server_certificate(folder)
    (folder / "token").write_text(TOKEN)
    (folder / "invite").write_text(str(Invite("127.0.0.1", 7700, TERMS.run, certificate.fingerprint, TOKEN)))
    store = open_store(TERMS.run, folder)
    store.write([d.CheckpointAccepted(first)], 0.0)
    history = Quiet(seed, state=store.load(TERMS))
    for _, made, _, now in history.steps(steps):
        store.write(made, now)
    store.write([d.TrustChanged(Trust("m0", evidence=0.5, clean=2, made=3, at=1000.0, why="differs"))], history.now)
    store.close()
    return history.state


@contextmanager
def coordinating(folder: Path, **settings: Any) -> Iterator[Coordinator]:
    """A real coordinator of the run in `folder`, in this process and without a bootstrap node, while the block lasts.
    It waits for nobody's heartbeats. `settings` are more of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "artefacts.json").exists():
        prepared(folder)
    spec, host = load(folder / "run.toml"), "127.0.0.1"
    coordinator = Coordinator(Settings(folder, host, 0, host, spec, (), heartbeat_seconds=600.0, **settings))
    coordinator.start()
    try:
        yield coordinator
    finally:
        coordinator.stop()


# ── damage ───────────────────────────────────────────────────────────────────────────────────────


def sql(folder: Path, statement: str) -> None:
    """Change rows behind the coordinator's back."""
    with closing(sqlite3.connect(folder / "coordinator.sqlite")) as database, database:
        changed = database.execute(statement).rowcount
    assert changed


def of_artefacts(folder: Path) -> Path:
    """A file that artefacts.json names."""
    made = json.loads((folder / "artefacts.json").read_text())
    return folder / "blobs" / str(made["shards"][0]["sha256"])


def overwrite(path: Path) -> None:
    """As many bytes, but others."""
    path.write_bytes(b"x" * path.stat().st_size)
