"""Which swarm: how many peers, how they train, and where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.plan import ANYWHERE, IN_A_LAB, Kind
from tests.chaos.stage import Stage
from tests.swarm_run import SwarmRun, local, swarm_run

EVALUATION = """
[evaluation]
every_rounds = {every}
"""


@dataclass(frozen=True)
class Setting:
    """A swarm of the tests' tiny model."""

    peers: int
    mode: str = "gradient"
    lab: bool = False
    evaluation: int = 25  # rounds between two
    seed: int = 0  # of the model and the order of samples

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What may befall it."""
        return IN_A_LAB if self.lab else ANYWHERE

    @contextmanager
    def stage(self, folder: Path) -> Iterator[tuple[SwarmRun, Stage]]:
        """The swarm, its files in `folder`; nothing of it runs after the block. `Stage.look` starts it."""
        values = {"rounds": 100_000, "batch": 24 * self.peers, "every": 5, "letters": 400_000}
        with self._run(folder, values) as (run, stage):
            spec = run.spec.read_text().replace("[run]", f"[run]\nseed = {self.seed}")
            run.spec.write_text(spec + EVALUATION.format(every=self.evaluation))
            if self.mode == "local":
                local(run)
            yield run, stage

    @contextmanager
    def _run(self, folder: Path, values: dict[str, Any]) -> Iterator[tuple[SwarmRun, Stage]]:
        if self.lab:
            from tests.chaos.homes import homes

            with homes(folder, self.peers, values) as found:
                yield found
        else:
            with swarm_run(folder, **values) as run:
                yield run, Stage(run, self.peers)
