"""What becomes of the files that members bring. Pure.

The table of this name says of each file in `blobs` that a member offered and that is no checkpoint of the run how far
it is. So a coordinator that starts anew knows what waits, and what it had yet to delete when it was killed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from coordinator.records import Checkpoint


class Stage(StrEnum):
    """`OFFERED`: it is wanted, and perhaps on its way. `ASIDE`: it is here, and waits until the members agree on the
    round that made it. `DROPPED`: it goes; that of a checkpoint of the run, too.
    """

    OFFERED = "offered"
    ASIDE = "aside"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Upload:
    stage: Stage
    checkpoint: Checkpoint

    def is_waste(self, latest: int) -> bool:
        """Whether its file can go while the run's latest checkpoint is of that round: nobody asks for older ones."""
        return self.stage is Stage.DROPPED or (self.stage is Stage.OFFERED and self.checkpoint.round < latest)


@dataclass(frozen=True)
class CheckpointBrought:
    """The file is here before the members agree on its round."""

    checkpoint: Checkpoint

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class UploadsDeleted:
    """The files, by their SHA-256, are not on the disk any more."""

    files: tuple[str, ...]

    def __str__(self) -> str:
        return ""


UploadDecision = CheckpointBrought | UploadsDeleted
