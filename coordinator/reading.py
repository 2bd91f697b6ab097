"""A run's folder read as its coordinator would tell of it, also while one is running. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import StaticPool, create_engine

from coordinator import copies
from coordinator.admission import Admission
from coordinator.artefacts import Artefacts, read_artefacts
from coordinator.blobs import Blobs
from coordinator.engine import Engine
from coordinator.handover import Lead
from coordinator.records import Terms
from coordinator.servicer import Servicer
from coordinator.store import SqlStore
from swarm import runspec
from swarm.errors import CorruptError, NotFoundError, SwarmError
from swarm.identity import server_certificate
from swarm.proto import coordinator_pb2 as pb

_NOBODY: Any = None  # who asks: no call comes from anywhere


class Told(NamedTuple):
    """What the coordinator answers to whoever looks."""

    run: pb.Run
    status: pb.Status
    checkpoints: list[pb.Checkpoint]
    history: pb.History
    record: list[pb.RecordEntry]


def told_by(folder: Path) -> Told:
    """Raises NotFoundError, SpecError, CorruptError, DiskError."""
    if not (folder / "tls.pem").exists():
        raise NotFoundError(f"No run was launched in {folder}.", "`swarm runs` lists those of this machine.")
    spec, artefacts = runspec.load(folder / "run.toml"), read_artefacts(folder / "artefacts.json")
    with copied(folder / copies.FILE, spec.run.name) as store:
        engine = Engine(store.load(terms_of(spec, artefacts)), store, Blobs(folder / "blobs"))
        known = (list, Admission(engine, ""), "", Lead(folder, engine), server_certificate(folder))
        servicer, name = Servicer(spec, artefacts, engine, *known), spec.run.name
        return Told(
            servicer.GetRun(pb.GetRunRequest(run=name), _NOBODY),
            servicer.GetStatus(pb.GetStatusRequest(run=name), _NOBODY),
            list(servicer.ListCheckpoints(pb.ListCheckpointsRequest(run=name), _NOBODY).checkpoints),
            servicer.GetHistory(pb.GetHistoryRequest(run=name), _NOBODY),
            list(_record(servicer, name)),
        )


def _record(servicer: Servicer, run: str) -> Iterator[pb.RecordEntry]:
    """All entries of the public record."""
    after = 0
    while page := servicer.GetRecord(pb.GetRecordRequest(run=run, after=after), _NOBODY).entries:
        yield from page
        after = page[-1].number


@contextmanager
def copied(tables: Path, run: str) -> Iterator[SqlStore]:
    """The tables as a coordinator would read them now. Raises NotFoundError, CorruptError, DiskError."""
    copy = copies.in_memory(tables)
    engine = create_engine("sqlite://", creator=lambda: copy, poolclass=StaticPool)
    store = SqlStore(run, engine)
    try:
        store.create()  # in the copy: tables of an earlier version have fewer columns
        yield store
    except (ValueError, TypeError, KeyError, SwarmError) as error:
        raise CorruptError(f"{tables} holds rows that are none: {error}", "Restore a backup.") from error
    finally:
        store.close()


def terms_of(spec: runspec.RunSpec, made: Artefacts) -> Terms:
    """Those that say how far a run is."""
    training = spec.training
    return Terms(spec.run.name, training.rounds, training.target_batch_size, made.epoch_samples)
