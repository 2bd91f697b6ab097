"""What may befall a swarm of real processes, in one vocabulary. Times are seconds.

A program that was started with `planned` can be killed or frozen `at` a moment of `swarm.moments`, one that was started
with `skewable` can have its clock set. Links are the lab's (`tests/lab`), which has machines of its own for them; the
simulator's words for them are in `tests/simulator/world.py`. Chance comes from `drawn`, which prints its seed.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from swarm.moments import Moment
from tests.harness import ROOT, Program
from tests.lab.net import Lab
from tests.swarm_run import SwarmRun


def planned(folder: Path) -> dict[str, str]:
    """The environment of a program to which faults may happen at named moments."""
    return {"SWARM_TEST_FAULTS": str(folder / "fault.json")}


def at(folder: Path, moment: Moment, do: str = "kill", **more: int) -> None:
    """Kill or freeze the process that reaches the moment next, of those that were started with `planned(folder)`, or
    damage what it holds ("nan", "flip"); with `round=5` in that round only.
    """
    later = folder / "fault.new"
    later.write_text(json.dumps({"at": moment, "do": do, **more}))
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


@contextmanager
def away(run: SwarmRun, coordinator: Program) -> Iterator[None]:
    """kill -9 of the coordinator; another one is in its place when the block ends."""
    coordinator.kill()
    coordinator.process.wait()
    yield
    run.launch()


# ── links, in the lab ──────────────────────────────────────────────────────────────────────────


def cut(net: Lab, one: str, other: str) -> None:
    """No packet passes between these two machines until `heal`."""
    net.cut_between(one, other)


def heal(net: Lab, one: str, other: str) -> None:
    """Take back a cut."""
    net.heal_between(one, other)


def slow(net: Lab, host: str, up_mbit: float, down_mbit: float) -> None:
    """The machine's line carries no more than this."""
    net.slow(host, up_mbit, down_mbit)


# ── disks and files ────────────────────────────────────────────────────────────────────────────


_ROOM = 8 << 30  # bytes that the disk may take; it takes memory only for what is on it


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """A disk of its own, mounted at `folder` until the block ends; skips the test without root."""
    if os.getuid() != 0:
        pytest.skip("a disk can be mounted by root only")
    folder.mkdir()
    _mount(folder, _ROOM)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def fill_disk(folder: Path) -> Iterator[None]:
    """No byte is free on the disk at `folder` until the block ends."""
    found = os.statvfs(folder)
    _mount(folder, (found.f_blocks - found.f_bfree) * found.f_frsize, "remount")
    try:
        assert os.statvfs(folder).f_bfree == 0
        yield
    finally:
        _mount(folder, _ROOM, "remount")


def _mount(folder: Path, size: int, how: str = "rw") -> None:
    options = f"{how},size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "garage-test", str(folder)], check=True)


def drawn(seed: int | None = None) -> random.Random:
    """Chance, with its seed printed: the same seed gives the same faults again. SWARM_TEST_SEED sets it."""
    number = seed if seed is not None else int(os.environ.get("SWARM_TEST_SEED", secrets.randbits(32)))
    print(f"SWARM_TEST_SEED={number}")
    return random.Random(number)


def corrupt(path: Path, chance: random.Random) -> None:
    """Flip a bit in each of eight places of the file, or clear one of its pages, as a failing disk does."""
    content = bytearray(path.read_bytes())
    if chance.random() < 0.5 and len(content) > 4096:
        start = chance.randrange(len(content) // 4096) * 4096
        content[start : start + 4096] = bytes(4096)
    for _ in range(8):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


# ── the clock and memory ───────────────────────────────────────────────────────────────────────

_CLOCK = """\
import os, time
from pathlib import Path

_real, _ahead = time.time, Path(os.environ["SWARM_TEST_CLOCK"])
time.time = lambda: _real() + float(_ahead.read_text())
"""


def skewable(folder: Path) -> dict[str, str]:
    """The environment of a program whose wall clock, as it and its libraries read it, `skew_clock` sets: Python imports
    `sitecustomize` before all else.
    """
    (folder / "clock").mkdir()
    (folder / "clock" / "sitecustomize.py").write_text(_CLOCK)
    skew_clock(folder, 0)
    return {"PYTHONPATH": f"{folder / 'clock'}:{ROOT}", "SWARM_TEST_CLOCK": str(folder / "clock" / "ahead")}


def skew_clock(folder: Path, seconds: int) -> None:
    """The wall clock of programs started with `skewable(folder)` is ahead by this much from now on."""
    later = folder / "clock" / "new"
    later.write_text(str(seconds))
    later.replace(folder / "clock" / "ahead")


def oom(process: psutil.Process) -> None:
    """Let the system's memory end for it alone: the kernel kills it. Skips the test without root and cgroups (v1)."""
    group = Path("/sys/fs/cgroup/memory") / f"garage-test-{process.pid}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("a memory cgroup can be made by root only, with cgroups v1")
    try:
        (group / "memory.limit_in_bytes").write_text(str(64 << 10))
        (group / "cgroup.procs").write_text(str(process.pid))
        process.wait(60)
    finally:
        group.rmdir()
