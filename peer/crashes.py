"""What is known of a worker's crashes: reports that are kept, and whether to try again."""

from __future__ import annotations

import platform
import signal
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from swarm.errors import WorkerCrashError
from swarm.version import __version__

_MOST = 5  # crashes
_WINDOW = 600.0  # seconds in which they must fall
_KEPT = 5  # reports
_TAIL = 8000  # characters of what the worker said
_PACKAGES = ("torch", "hivemind", "transformers", "peft", "bitsandbytes", "numpy")


def how(code: int) -> str:
    """How the training process ended, by its exit code; for people."""
    killed = "; the system kills with -9 when memory runs out" if code == -signal.SIGKILL else ""
    return f"the training process ended unexpectedly (exit code {code}{killed})"


def pause_after(crashes: Sequence[float], now: float) -> float | None:
    """Seconds until the next try, twice as long after each crash of the last ten minutes; None when there were enough.
    `crashes` are times up to `now`, seconds of a clock that nobody sets.
    """
    recent = sum(now - moment < _WINDOW for moment in crashes)
    return None if recent >= _MOST else 2.0 ** (recent - 1)


class Crashes:
    """Of one seat, whose folder holds `worker.out` and the reports in `crashes`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._times: list[float] = []
        self._rounds = 0

    def note(self, what: str, now: float, rounds: int) -> float:
        """Keep a report; seconds until the next try. Raises WorkerCrashError when it crashed again and again.

        `now` is as in `pause_after`; `rounds` is how many were done so far: crashes before the last of them count no
        more.
        """
        if rounds > self._rounds:
            self._rounds, self._times = rounds, []
        self._times.append(now)
        report = self._keep(what)
        pause = pause_after(self._times, now)
        if pause is None:
            raise WorkerCrashError(
                f"The training process crashed {_MOST} times within {_WINDOW / 60:.0f} minutes without a round done; "
                f"the last time: {what}.",
                f"Please send the report {report} to the maintainer.",
            )
        return pause

    def _keep(self, what: str) -> Path:
        folder = self._folder / "crashes"
        folder.mkdir(exist_ok=True)
        path = folder / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%f}.txt"
        path.write_text("\n".join([what, _versions(), "", self._said()]))
        for old in sorted(folder.glob("*.txt"))[:-_KEPT]:
            old.unlink(missing_ok=True)
        return path

    def _said(self) -> str:
        """The end of the worker's output and of its log."""
        found = []
        for name in ("worker.out", "worker.log"):
            with suppress(OSError):
                found.append(f"── {name}\n{(self._folder / name).read_text(errors='replace')[-_TAIL:]}")
        return "\n".join(found)


def _versions() -> str:
    known = [f"garage-swarm {__version__}", f"Python {platform.python_version()} on {platform.platform()}"]
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            known.append(f"{name} {version(name)}")
    return ", ".join(known)
