"""What a volunteer's machine writes: key, settings, consent, files of the run, what waits, counts, notes."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from peer import parting, spawn
from peer.checkpoint import read_state, state_digest, state_metadata, write_state
from peer.data import Batches, read_samples
from peer.exchange.ballot import UNKNOWN, Ballot
from peer.exchange.snapshot import _named
from peer.fetch import Files
from peer.held import Part, found
from peer.outbox import REPORT, Outbox
from peer.reach import _kept
from peer.sending import Sender
from peer.standing import Standing
from peer.traffic import Traffic
from swarm import neighbour, notes, tensorfile
from swarm.chunks import Manifest, blob_of, chunked
from swarm.cli.card import Agreement
from swarm.client import CoordinatorClient
from swarm.errors import CorruptError
from swarm.identity import Identity
from swarm.proto import coordinator_pb2 as pb
from swarm.proto import exchange_pb2
from swarm.ranges import Layout, Range
from swarm.tensorfile import atomic_write, region
from swarm.transfer import receive
from tests.torn.coordinators import CONTENT, SHA256
from tests.torn.kinds import Durable, Kind, Must, said
from tests.unit.test_training import learner

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
ROWS = [("What", "A run"), ("Who", "Somebody")]
SETTINGS = neighbour.changed(neighbour.Neighbour(), "limits.watts", "150")
STATE = {"model/weight": torch.arange(6000, dtype=torch.float32), "optimizer/step": torch.tensor(7)}
BODIES = [bytes([number]) * 300 for number in range(100)]
CHUNK = 4096
LAYOUT = Layout((64,), 64, 1)
SHARD = save({"tokens": np.arange(64 * 65, dtype=np.int32).reshape(64, 65)})


# ── files of the run ───────────────────────────────────────────────────────────────────────────


class Coordinator:
    """As much of a client as files need."""

    def __init__(self) -> None:
        self.offered: list[str] = []

    def download(self, sha256: str, size: int, target: Path) -> None:
        receive(lambda offset: [CONTENT[offset:]], sha256, size, target)

    def offer_checkpoint(self, _member: str, checkpoint: pb.Checkpoint) -> pb.OfferCheckpointResponse:
        self.offered.append(checkpoint.digest)
        return pb.OfferCheckpointResponse(wanted=False, why="it is here")


def _files(folder: Path) -> Files:
    return Files(cast(CoordinatorClient, Coordinator()), folder / "blobs", lambda _: None)


def _fetch(folder: Path) -> bytes:
    """What arrives altered is thrown away by name; the next try begins anew."""
    blob = pb.Blob(name="model.json", sha256=SHA256, size=len(CONTENT))
    with suppress(CorruptError):
        _files(folder).blob(blob)
    return _files(folder).blob(blob).read_bytes()


def _fetch_half(folder: Path) -> None:
    """The line breaks off."""
    (folder / "blobs").mkdir()
    with (folder / "blobs" / f"{SHA256}.{SHA256[:8]}.part").open("wb") as file:
        file.write(CONTENT[:15_000])


def _manifest(folder: Path) -> Manifest:
    with atomic_write(folder / "source") as file:
        file.write(CONTENT)
    sha256, size, chunks = chunked(folder / "source", CHUNK)
    facts = {"name": "shard", "sha256": sha256, "size": size, "chunk_size": CHUNK, "chunks": chunks.hex()}
    return Manifest.of(blob_of(facts))


def _fetch_chunks(folder: Path, chunks: int = 99) -> bytes | None:
    """What a part has is kept when it is right, and the rest comes from others."""
    part = Part(_manifest(folder), folder)
    if not part.open():
        return None
    for chunk in range(min(chunks, part.held.manifest.count)):
        offset, length = part.held.manifest.span(chunk)
        if chunk not in part.held.here:
            assert part.write(chunk, CONTENT[offset : offset + length])
            part.held.here.add(chunk)
    if len(part.held.here) == part.held.manifest.count:
        part.finish()
    part.close()
    return part.held.path.read_bytes()


def _held(folder: Path) -> bytes:
    held = found(_manifest(folder), folder)
    assert held
    return held.path.read_bytes()


def _put_shard(folder: Path) -> None:
    with atomic_write(folder / "shard") as file:
        file.write(SHARD)


def _samples(folder: Path) -> object:
    batches = Batches(LAYOUT, (hashlib.sha256(SHARD).hexdigest(),), lambda _: folder / "shard")
    return batches.load(Range(0, 64)).tokens.tolist()


def _checkpoint(folder: Path) -> bytes:
    checkpoint = pb.Checkpoint(round=3, sha256=SHA256, size=len(CONTENT))
    with suppress(CorruptError):
        _files(folder).checkpoint(checkpoint)
    return _files(folder).checkpoint(checkpoint).read_bytes()


# ── states ─────────────────────────────────────────────────────────────────────────────────────


def _write_state(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    write_state(path, STATE, state_metadata("run", 3, 192, state_digest(STATE)))


def _read_state(folder: Path) -> object:
    tensors, metadata = read_state(folder / "round-3.safetensors")
    return {name: tensor.tolist() for name, tensor in tensors.items()}, metadata


def _give_state(folder: Path) -> object:
    """What others are given, in a process that finds the file of an earlier one."""
    torch.manual_seed(0)
    giving = learner()
    giving.digest = state_digest(giving.state())
    path, round_, digest = giving.snapshot(folder) or pytest.fail("it does not trust its state")
    assert tensorfile.state_digest(path) == digest
    return path.read_bytes(), round_


def _state_manifest(folder: Path) -> Manifest:
    """Of the whole state, as a donor offers it; its chunks are small here, so that there are several."""
    _write_state(folder / "whole")
    sha256, size, chunks = chunked(folder / "whole", 4096)
    return Manifest.of(pb.Blob(name="state", sha256=sha256, size=size, chunk_size=4096, chunks=chunks))


def _half_a_state(folder: Path) -> None:
    _state_manifest(folder)
    (folder / "state.part").write_bytes((folder / "whole").read_bytes())


def _from_donors(folder: Path) -> bytes:
    """Chunks that are not right are fetched from a donor."""
    manifest = _state_manifest(folder)
    (folder / "state.part").replace(folder / f"{manifest.sha256}.part")
    part = Part(manifest, folder)
    assert part.open()
    with (folder / "whole").open("rb") as whole:
        for chunk in set(range(manifest.count)) - part.held.here:
            assert part.write(chunk, b"".join(region(whole, *manifest.span(chunk))))
    part.finish()
    part.close()
    offer = exchange_pb2.Snapshot(round=3, digest=state_digest(STATE))
    return _named(part.held.path, offer).read_bytes()


def _send_checkpoint(folder: Path) -> list[str]:
    """What the coordinator is offered; nothing may stay at the head of the box for ever."""
    box, coordinator = Outbox(folder / "outbox.sqlite"), Coordinator()
    said(box.open())
    sender = Sender(cast(CoordinatorClient, coordinator), box, folder, Standing(), _files(folder).keep_checkpoint)
    sender.offer(pb.Checkpoint(round=3, digest=state_digest(STATE)))
    assert sender.flush(10)
    assert not len(box)
    box.close()
    return coordinator.offered


# ── what waits, what is counted, notes ─────────────────────────────────────────────────────────


def _fill_box(folder: Path) -> None:
    box = Outbox(folder / "outbox.sqlite")
    box.open()
    for body in BODIES:
        box.put(REPORT, body)
    box.close()


def _box(folder: Path) -> list[bytes]:
    """Also used afterwards, as a join does."""
    box = Outbox(folder / "outbox.sqlite")
    said(box.open())
    bodies = [item.body for item in box.first(1000)]
    box.put(REPORT, b"another")
    assert len(box) == len(bodies) + 1
    box.close()
    assert bodies or (folder / "outbox.sqlite.torn").exists()
    return bodies


def _count(folder: Path) -> None:
    Traffic(folder / "traffic.sqlite").add(1000, NOW)


def _counted(folder: Path) -> int:
    traffic = Traffic(folder / "traffic.sqlite")
    before = traffic.month(NOW)
    traffic.add(5, NOW)
    assert traffic.month(NOW) == before + 5
    return before


def _agree(folder: Path) -> None:
    Agreement(folder / "consent.json").keep(ROWS)


def _leave_a_worker(folder: Path) -> None:
    """A group that no process has, and its temporary folder."""
    (folder / "swarm-left").mkdir()
    notes.keep(folder / "worker.json", json.dumps({"group": 1 << 30, "folder": str(folder / "swarm-left")}))


def _reaped(folder: Path) -> bool:
    spawn.reap_leftovers(folder)
    return not (folder / "swarm-left").exists()


def _key(folder: Path) -> Any:
    return Identity.load_or_create(folder).public_key


KINDS = [
    Kind("identity", "identity.pem", _key, _key, Must.REFUSED),
    Kind(
        "identity from its words",
        "identity.pem",
        lambda at: Identity.from_seed(b"s" * 32).save(at / "identity.pem"),
        _key,
        Must.REFUSED,
    ),
    Kind(
        "settings",
        "config.toml",
        lambda at: neighbour.save(SETTINGS, at / "config.toml"),
        lambda at: neighbour.load(at / "config.toml"),
        Must.REFUSED,
    ),
    Kind(
        "consent",
        "consent.json",
        _agree,
        lambda at: Agreement(at / "consent.json").holds(ROWS),
        Must.ANEW,
        new=False,
    ),
    Kind("file of the run", f"blobs/{SHA256}", _fetch, _fetch, Must.REPAIRED),
    Kind(
        "file of the run on its way",
        f"blobs/{SHA256}.{SHA256[:8]}.part",
        _fetch_half,
        _fetch,
        Must.REPAIRED,
        Durable.LOOSE,
    ),
    Kind("checkpoint of the run", f"checkpoints/{SHA256}", _checkpoint, _checkpoint, Must.REPAIRED),
    Kind("shard or base", SHA256, _fetch_chunks, _held, Must.REFUSED),
    Kind("stamp of a shard", f"{SHA256}.stamp", _fetch_chunks, _held, Must.REPAIRED),
    Kind(
        "shard on its way",
        f"{SHA256}.part",
        lambda at: _fetch_chunks(at, 3),
        _fetch_chunks,
        Must.REPAIRED,
        Durable.LOOSE,
    ),
    Kind("samples", "shard", _put_shard, _samples, Must.REFUSED),
    Kind(
        "held-out samples",
        "shard",
        _put_shard,
        lambda at: read_samples(at / "shard").tokens.tolist(),
        Must.REFUSED,
    ),
    Kind(
        "state",
        "round-3.safetensors",
        lambda at: _write_state(at / "round-3.safetensors"),
        _read_state,
        Must.REFUSED,
    ),
    Kind("state for others", "round-0.safetensors", _give_state, _give_state, Must.REPAIRED),
    Kind("state on its way", "state.part", _half_a_state, _from_donors, Must.REPAIRED, Durable.LOOSE),
    Kind(
        "checkpoint that waits",
        "round-3.safetensors",
        lambda at: _write_state(at / "round-3.safetensors"),
        _send_checkpoint,
        Must.ANEW,
        new=[],
    ),
    Kind("outbox", "outbox.sqlite", _fill_box, _box, Must.ANEW, Durable.SQLITE, new=[]),
    Kind("count of the traffic", "traffic.sqlite", _count, _counted, Must.ANEW, Durable.LOOSE, new=0),
    Kind(
        "session",
        "session",
        lambda at: parting.left(at, "5f2b" * 8, 3),
        parting.before,
        Must.ANEW,
        new=parting.Before(),
    ),
    Kind(
        "port",
        "p2p.port",
        lambda at: notes.keep(at / "p2p.port", "28123"),
        lambda at: _kept(at / "p2p.port"),
        Must.ANEW,
        new=[],
    ),
    Kind(
        "vote",
        "vote",
        lambda at: Ballot.of(at / "vote").cast(7),
        lambda at: Ballot.of(at / "vote").round,
        Must.ANEW,
        new=UNKNOWN,
    ),
    Kind("worker", "worker.json", _leave_a_worker, _reaped, Must.ANEW, new=False, fresh=True),
]
