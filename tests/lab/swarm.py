"""A whole swarm in a lab: every peer on a host of its own, the coordinator on the host "coordinator"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.harness import Program
from tests.lab.net import Lab
from tests.swarm_run import SwarmRun, swarm_words


class LabRun(SwarmRun):
    """A `SwarmRun` whose `join(name)` runs on the host `name`. The test itself asks the coordinator by its address."""

    def __init__(self, net: Lab, folder: Path, **values: Any) -> None:
        super().__init__(folder, **values)
        self.net = net
        self.host = net.host("coordinator").address

    def on(self, host: str, *arguments: str) -> Program:
        """A command on `host`, which shares no files with the others."""
        command = self.net.command(host, swarm_words(*arguments))
        return self.track(Program(command, SWARM_HOME=str(self.folder / f"{host}-home"), OMP_NUM_THREADS="1"))


@contextmanager
def lab_run(net: Lab, folder: Path, **values: Any) -> Iterator[LabRun]:
    run = LabRun(net, folder, **values)
    run.write_spec()
    try:
        yield run
    finally:
        run.clean_up()
