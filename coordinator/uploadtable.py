"""The table of what members bring (`coordinator.uploads`): what the store writes there and reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Float, Row, String, Table, delete

from coordinator import decisions as d
from coordinator.records import Checkpoint
from coordinator.tables import metadata
from coordinator.uploads import CheckpointBrought, Stage, Upload, UploadsDeleted

Put = Callable[[Connection, Any, dict[str, Any]], None]

uploads = Table(
    "uploads",
    metadata,
    Column("run", String(64), primary_key=True, nullable=False),
    Column("sha256", String(64), primary_key=True),
    Column("stage", String(16), nullable=False),
    Column("round", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("global_samples", BigInteger, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("uploaded_by", String(64), nullable=False),
)
_KEPT = ("sha256", "round", "digest", "size", "global_samples", "created_at", "uploaded_by")


def write(connection: Connection, decision: d.Decision, run: str, put: Put) -> None:
    """What the decision says of a file that somebody brought; of the others nothing."""
    match decision:
        case d.CheckpointOffered(checkpoint, ""):
            put(connection, uploads, _row(checkpoint, Stage.OFFERED))
        case CheckpointBrought(checkpoint):
            put(connection, uploads, _row(checkpoint, Stage.ASIDE))
        case d.CheckpointDropped(checkpoint):
            put(connection, uploads, _row(checkpoint, Stage.DROPPED))
        case d.CheckpointAccepted(checkpoint):
            _forget(connection, run, [checkpoint.sha256])
        case UploadsDeleted(files):
            _forget(connection, run, files)


def read(rows: Iterable[Row[Any]]) -> list[Upload]:
    return [Upload(Stage(row.stage), Checkpoint(**{key: getattr(row, key) for key in _KEPT})) for row in rows]


def _row(checkpoint: Checkpoint, stage: Stage) -> dict[str, Any]:
    return {"stage": stage, **{key: getattr(checkpoint, key) for key in _KEPT}}


def _forget(connection: Connection, run: str, files: Iterable[str]) -> None:
    connection.execute(delete(uploads).where(uploads.c.run == run, uploads.c.sha256.in_(files)))
