"""What can be seen of this machine and its user: thin, and silent about what it cannot see."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

import psutil

from peer import nvidia
from peer.neighbour import Observed
from swarm.neighbour import When

_ASK_SECONDS = 2.0
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


class ThisMachine:
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
    return Script(Path(script)) if script else ThisMachine()


def _names() -> Iterator[str]:
    for process in psutil.process_iter(["name"]):
        if name := process.info["name"]:
            yield name


def _idle_seconds() -> float | None:
    """Since the user's last key or mouse move on the desktop, else since the last key in any terminal."""
    for command in ("xprintidle", _GNOME):
        answer = _said(command.split())
        if milliseconds := "".join(filter(str.isdigit, answer.replace("uint64", ""))):
            return int(milliseconds) / 1000
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


def _graphics() -> tuple[str, float | None]:
    """Who else computes on a card, and the hottest card's temperature."""
    others, heat = "", []
    with suppress(nvidia.DriverError), nvidia.opened() as cards:
        for card in cards:
            with suppress(nvidia.DriverError):
                heat.append(nvidia.celsius(card))
            with suppress(nvidia.DriverError):
                users = nvidia.users(card)  # before its own are looked up: a worker may just have started
                others = others or nvidia.name_of(users - _own())
    return others, max(heat, default=None)


def _own() -> set[int]:
    """This peer's processes: the supervisor's and all that it started."""
    process = psutil.Process()
    return {process.pid, *(child.pid for child in process.children(recursive=True))}
