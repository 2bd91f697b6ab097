"""What does many rounds and is sampled on the way: two real peers of the exchange, and a coordinator's engine."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import torch

from coordinator import decisions as d
from coordinator import events as e
from coordinator.blobs import Blobs
from coordinator.engine import Engine
from coordinator.ledger import Claim, Lease
from coordinator.records import Checkpoint, Metrics, Pulse, RoundReport, Terms
from coordinator.store import open_store
from peer.checkpoint import state_digest, state_metadata, write_state
from tests.growth import Sample, of_process
from tests.harness import exchange_peers

_MEMBER = "fast"
_BATCH = 8  # samples in a round
_CHECKPOINT_EVERY = 10  # rounds
_ROUND_SECONDS = 5.0  # that a peer's round takes at the very most


def peers(rounds: int, every: int, **settings: str) -> dict[str, list[Sample]]:
    """Two real peers with a tiny vector on loopback, in gradient mode unless `settings` say local="int8": each one's
    samples, taken every `every` rounds.
    """
    common = {"rounds": rounds, "target": _BATCH, "size": 64, "pace": 0.0, "await_others": 1, "sample_every": every}
    with exchange_peers(**common, **settings) as started:
        for _ in range(2):
            started.start()
        ended = started.finish(60 + rounds * _ROUND_SECONDS)
        return {
            f"peer {number}": [Sample(said["round"], said["values"]) for said in peer.every("sample")]
            for number, peer in enumerate(ended)
        }


def coordinator(rounds: int, every: int, folder: Path) -> Iterator[Sample]:
    """An engine with a SQLite store in `folder`, and one member that leases, beats, reports and brings checkpoints."""
    terms = Terms("growth", rounds + 1, _BATCH, 10_000)
    with closing(open_store(terms.run, folder)) as store:
        store.write([d.CheckpointAccepted(_checkpoint(0, folder)[0])], 0.0)
        engine = Engine(store.load(terms), store, Blobs(folder / "blobs"))
        (folder / "blobs").mkdir()
        engine.apply(e.Join(_MEMBER, bytes(32), _MEMBER, "1"))
        for round_ in range(rounds):
            _work(engine, round_, folder)
            if (round_ + 1) % every == 0:
                yield Sample(round_ + 1, _held(engine))


def _work(engine: Engine, round_: int, folder: Path) -> None:
    """All that the member says in one round."""
    engine.apply(e.Heartbeat(_MEMBER, Pulse("training", round=round_, samples_per_second=100.0)))
    [lease] = [item.lease for item in engine.apply(e.TakeLease(_MEMBER, _BATCH)) if isinstance(item, d.LeaseGranted)]
    checkpoint, path = _checkpoint(round_ + 1, folder)
    engine.apply(e.Report(_MEMBER, (_report(round_, checkpoint.digest, lease),)))
    if (round_ + 1) % _CHECKPOINT_EVERY == 0:
        engine.apply(e.OfferCheckpoint(_MEMBER, checkpoint))
        engine.blobs.receive(checkpoint.sha256, checkpoint.size, 0, [path.read_bytes()], "anna")
        engine.uploaded(checkpoint)
    engine.apply()


def _report(round_: int, digest: str, lease: Lease) -> RoundReport:
    samples = len(lease.range)
    metrics = Metrics(digest, samples, samples * (round_ + 1), 1, samples, 1.0, 1.0, 1.0, 0, 0, time.time())
    return RoundReport(f"{_MEMBER}-{round_}", round_, metrics, (Claim(lease.id, lease.range),))


def _checkpoint(round_: int, folder: Path) -> tuple[Checkpoint, Path]:
    """A state that differs in every round."""
    state = {"model/weight": torch.full((8,), float(round_))}
    digest, path = state_digest(state), folder / "state.safetensors"
    write_state(path, state, state_metadata("growth", round_, _BATCH * round_, digest))
    content = path.read_bytes()
    return Checkpoint(round_, digest, hashlib.sha256(content).hexdigest(), len(content), _BATCH * round_), path


def _held(engine: Engine) -> dict[str, float]:
    state = engine.state
    return of_process("coordinator", psutil.Process()) | {
        "members": len(state.members),
        "votes": len(state.votes),
        "checkpoints": len(state.checkpoints),
        "offers": len(state.offers),
        "open leases": len(state.ledger.leases),
        "closed leases": len(state.ledger.closed),
        "counted rounds": len(state.ledger.counted),
        "free ranges": len(state.ledger.free),
        "uploads": len(engine.blobs._uploads),
        "files": sum(1 for _ in engine.blobs.path("0" * 64).parent.iterdir()),
    }
