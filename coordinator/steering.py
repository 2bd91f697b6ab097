"""What the maintainer decided about the run: it pauses, goes on, or ends before its last round; which checkpoints are
good. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from coordinator.records import Checkpoint


class Course(StrEnum):
    """How the run goes on. `PAUSED`: nothing is lent, and who is here waits. `FINISHED`: who is here leaves, too."""

    ON = "on"
    PAUSED = "paused"
    FINISHED = "finished"


@dataclass(frozen=True)
class Steering:
    """`why` is the maintainer's reason, which members are told; `by` the id of the invite; `at` Unix seconds."""

    course: Course = Course.ON
    why: str = ""
    by: str = ""
    at: float = 0.0

    @property
    def paused(self) -> str:
        """Why nothing is lent now; empty when it is not for a pause."""
        return f"the run is paused by its maintainer{_because(self.why)}" if self.course is Course.PAUSED else ""

    @property
    def finished(self) -> str:
        """Why the run ended before its last round; empty when it did not."""
        return f"the run was finished by its maintainer{_because(self.why)}" if self.course is Course.FINISHED else ""


@dataclass(frozen=True)
class Steered:
    """The maintainer decided."""

    steering: Steering

    def __str__(self) -> str:
        said = self.steering.paused or self.steering.finished or f"the run goes on{_because(self.steering.why)}"
        return f"{said[0].upper()}{said[1:]}."


@dataclass(frozen=True)
class CheckpointApproved:
    checkpoint: Checkpoint

    def __str__(self) -> str:
        found = self.checkpoint
        by = f"by {found.approved_by}{_because(found.approved_why)}" if found.approved_by else "no more"
        return f"Checkpoint of round {found.round} is approved {by}."


SteeringDecision = Steered | CheckpointApproved


def _because(why: str) -> str:
    return f": {why}" if why else ""
