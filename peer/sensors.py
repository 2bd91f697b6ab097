"""What can be seen of this machine and its user: thin, and silent about what it cannot see."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

import psutil
import pynvml

from peer.neighbour import Observed
from swarm.neighbour import When

_ASK_SECONDS = 2.0
_USES_PERCENT = 10  # of the GPU's time: a desktop that draws its windows needs less, a game or a computation more
_GNOME = (
    "gdbus call --session --dest org.gnome.Mutter.IdleMonitor --object-path /org/gnome/Mutter/IdleMonitor/Core "
    "--method org.gnome.Mutter.IdleMonitor.GetIdletime"
)


class Sensors(Protocol):
    """Clock and eyes; a test has its own."""

    def now(self) -> datetime:
        """The local time, with its zone."""

    def look(self, when: When, /) -> Observed:
        """What is there now, as far as `when` asks for it. `month_bytes` is for others to fill in."""


class Machine:
    """The real ones. It looks every few seconds all night long, so only at what somebody asked for."""

    def now(self) -> datetime:
        return datetime.now().astimezone()

    def look(self, when: When) -> Observed:
        battery = psutil.sensors_battery()
        others, celsius = _graphics()
        return Observed(
            idle_seconds=_idle_seconds() if when.idle_minutes else None,  # two programs are started to find out
            programs=frozenset(name.lower() for name in _names()) if when.programs or when.games else None,
            on_battery=None if battery is None else not battery.power_plugged,
            others=others,
            celsius=celsius,
        )


class Script:
    """Sensors for tests: the JSON file that SWARM_TEST_SENSORS names, read at every look: {"now": ISO, …Observed}."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> datetime:
        return datetime.fromisoformat(self._read()["now"])

    def look(self, _when: When) -> Observed:
        facts = {key: value for key, value in self._read().items() if key != "now"}
        return Observed(**{**facts, "programs": frozenset(facts.get("programs", ()))})  # type: ignore[arg-type]

    def _read(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self._path.read_text())
        return found


def open_sensors() -> Sensors:
    """This machine's, unless a test names a script."""
    script = os.environ.get("SWARM_TEST_SENSORS")
    return Script(Path(script)) if script else Machine()


def _names() -> Iterator[str]:
    for process in psutil.process_iter(["name"]):
        if name := process.info["name"]:
            yield name


def _idle_seconds() -> float | None:
    """Since the user's last key or mouse move on the desktop, else since the last key in any terminal."""
    for command, scale in (("xprintidle", 1e-3), (_GNOME, 1e-3)):
        answer = _said(command.split())
        digits = "".join(filter(str.isdigit, answer.replace("uint64", "")))
        if digits:
            return int(digits) * scale
    touched = [_touched(user.terminal) for user in psutil.users() if user.terminal]
    return time.time() - max(touched) if touched else None


def _said(command: list[str]) -> str:
    if shutil.which(command[0]):
        with suppress(OSError, subprocess.SubprocessError):
            asked = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
            return asked.stdout if asked.returncode == 0 else ""
    return ""


def _touched(terminal: str) -> float:
    with suppress(OSError):
        return Path("/dev", terminal).stat().st_atime
    return 0.0


@contextmanager
def _driver() -> Iterator[list[object]]:
    """NVIDIA's cards; none without its driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield []
        return
    try:
        yield [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _graphics() -> tuple[str, float | None]:
    """Who else computes on a card, and the hottest card's temperature."""
    others, heat = "", []
    with _driver() as cards:
        for card in cards:
            with suppress(pynvml.NVMLError):
                heat.append(float(pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU)))
            with suppress(pynvml.NVMLError):
                users = _users(card)  # before its own are looked up: a worker may just have started
                others = others or _name_of(users - _own())
    return others, max(heat, default=None)


def _own() -> set[int]:
    """This peer's processes: the supervisor's and all that it started."""
    process = psutil.Process()
    return {process.pid, *(child.pid for child in process.children(recursive=True))}


def _users(card: object) -> set[int]:
    """Who computes or draws on the card now, by their load; where that is not told, who has it open to compute."""
    try:
        since = int((time.time() - _ASK_SECONDS) * 1e6)
        load = pynvml.nvmlDeviceGetProcessUtilization(card, since)
        return {sample.pid for sample in load if sample.smUtil >= _USES_PERCENT}
    except pynvml.NVMLError_NotFound:  # nobody does
        return set()
    except pynvml.NVMLError_NotSupported:
        return {process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(card)}


def _name_of(pids: set[int]) -> str:
    """The name of one that is here. In a container the driver may tell the host's ids, also our own: none of those."""
    for pid in sorted(pids):
        with suppress(psutil.Error):
            return psutil.Process(pid).name()
    return ""


def power() -> tuple[str, float, float] | None:
    """The first card's name, its temperature in °C and its draw in watts; None without one."""
    with _driver() as cards:
        for card in cards:
            with suppress(pynvml.NVMLError):
                heat = float(pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU))
                return str(pynvml.nvmlDeviceGetName(card)), heat, pynvml.nvmlDeviceGetPowerUsage(card) / 1000
    return None
