"""What preparation made of a run spec, as the coordinator serves it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.chunks import blob_of
from swarm.errors import CorruptError, NotFoundError
from swarm.proto import coordinator_pb2 as pb


@dataclass(frozen=True)
class Artefacts:
    """What preparation made of the run spec; see "State, files, names" in docs/architecture.md."""

    model: tuple[pb.Blob, ...]
    shards: tuple[pb.Blob, ...]
    heldout: pb.Blob
    layout: pb.DataLayout
    data: pb.DataFacts
    checkpoint: dict[str, Any]
    base: tuple[pb.Blob, ...]  # the frozen base's weights; empty for method full

    @property
    def blobs(self) -> tuple[pb.Blob, ...]:
        return (*self.model, *self.shards, self.heldout)

    @property
    def files(self) -> dict[str, int]:
        """The size in bytes of every file that the run's members may need, by its SHA-256."""
        return {blob.sha256: blob.size for blob in (*self.blobs, *self.base)}

    @property
    def epoch_samples(self) -> int:
        return sum(self.layout.shard_samples)


def read_artefacts(path: Path) -> Artefacts:
    """Raises NotFoundError, and CorruptError when the file is not what preparation writes."""
    try:
        made = json.loads(path.read_text())
        return Artefacts(
            tuple(map(blob_of, made["model"])),
            tuple(map(blob_of, made["shards"])),
            blob_of(made["heldout"]),
            pb.DataLayout(**made["layout"]),
            pb.DataFacts(**made["facts"]),
            made["checkpoint"],
            tuple(map(blob_of, made["base"])),
        )
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} is missing: the run was never prepared.", "Use swarm launch.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{path.name} is torn or was altered; it is not used.", f"Delete {path}.") from error
