"""What may befall a swarm of real processes, in one vocabulary. Times are seconds.

`kill(peer, at="exchange")` needs a peer that was started with `planned`; the moments are those of `swarm.moments`.
Links are cut and slowed in the lab (`tests/lab`), and in the simulator (`tests/simulator/world.py`).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from swarm.moments import Moment
from tests.harness import Program
from tests.swarm_run import SwarmRun


def planned(folder: Path) -> dict[str, str]:
    """The environment of a program to which faults may happen at named moments."""
    return {"SWARM_TEST_FAULTS": str(folder / "fault.json")}


def at(folder: Path, moment: Moment, do: str = "kill") -> None:
    """Kill or freeze the process that reaches the moment next, of those that were started with `planned(folder)`."""
    later = folder / "fault.new"
    later.write_text(json.dumps({"at": moment, "do": do}))
    later.replace(folder / "fault.json")


def happened(folder: Path) -> bool:
    """Whether the moment came."""
    return not (folder / "fault.json").exists()


def worker(peer: Program) -> psutil.Process:
    """The peer's training process."""
    children = psutil.Process(peer.process.pid).children()
    return next(child for child in children if "peer.worker" in child.cmdline())


def kill(process: psutil.Process) -> None:
    """kill -9."""
    process.send_signal(signal.SIGKILL)


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """SIGSTOP for it and all that it started, until the block ends."""
    every = [process, *process.children(recursive=True)]
    for one in every:
        with suppress(psutil.NoSuchProcess):
            one.suspend()
    try:
        yield
    finally:
        for one in every:
            with suppress(psutil.NoSuchProcess):
                one.resume()


def restart(run: SwarmRun, coordinator: Program) -> Program:
    """kill -9 of the coordinator, and another one in its place."""
    coordinator.kill()
    coordinator.process.wait()
    return run.launch()
