"""What lies in `blobs` when a coordinator starts, against what its tables say of it."""

from __future__ import annotations

import time
from dataclasses import replace

from coordinator import decisions as d
from coordinator.blobs import Blobs
from coordinator.records import Checkpoint, Terms
from coordinator.state import State
from coordinator.store import Store
from coordinator.uploads import UploadsDeleted
from swarm import log
from swarm.errors import CorruptError, NotFoundError
from swarm.tensorfile import state_digest

logger = log.get(__name__)


def found(store: Store, blobs: Blobs, terms: Terms) -> State:
    """The run as it stood, from a checkpoint that is whole, with those that wait and are whole; what a killed
    coordinator had yet to delete is gone. Raises CorruptError when no checkpoint is whole, DiskError.
    """
    state = _from_whole_checkpoint(store, blobs, terms)
    flawed = {key: why for key, it in state.brought.items() if (why := _flaw(blobs, it))}
    for key, why in flawed.items():
        _drop(store, state.brought[key], why)
    _delete_waste(store, blobs, state.latest.round)
    return replace(state, brought={key: it for key, it in state.brought.items() if key not in flawed})


def _from_whole_checkpoint(store: Store, blobs: Blobs, terms: Terms) -> State:
    """Torn checkpoints are refused by name and dropped, and an older one is the latest then: what the run may go back
    to, and so what it must remember, is read anew.
    """
    while why := _flaw(blobs, (state := store.load(terms)).latest):
        if len(state.checkpoints) == 1:
            raise CorruptError(f"No checkpoint of the run is whole: {why}", "Restore the folder from a copy.")
        _drop(store, state.latest, why)
    return state


def _flaw(blobs: Blobs, checkpoint: Checkpoint) -> str:
    """Why the file cannot be used; empty when it is whole."""
    try:
        path = blobs.verify(checkpoint.sha256)
        if state_digest(path) != checkpoint.digest:
            return f"{path.name} does not hold the state that it was brought as"
    except (CorruptError, NotFoundError) as error:
        return error.what
    return ""


def _drop(store: Store, checkpoint: Checkpoint, why: str) -> None:
    logger.error("checkpoint of round %d: %s", checkpoint.round, why)
    store.write([d.CheckpointDropped(checkpoint, why)], time.time())


def _delete_waste(store: Store, blobs: Blobs, latest: int) -> None:
    """Files are deleted once that is on disk: who is killed in between leaves them."""
    waste = tuple(it.checkpoint.sha256 for it in store.uploads() if it.is_waste(latest))
    for sha256 in waste:
        blobs.delete(sha256)
    if waste:
        store.write([UploadsDeleted(waste)], time.time())
