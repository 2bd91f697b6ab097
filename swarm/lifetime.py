"""Processes that must not outlive the one that started them, even when that is killed with -9 (Linux)."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PARENT = "SWARM_PARENT"


def child_environment() -> dict[str, str]:
    """The environment for a program of ours that shall end with this process; see `follow_parent`."""
    return {**os.environ, _PARENT: str(os.getpid())}


def follow_parent() -> None:
    """When `child_environment` says so: end with SIGTERM, that is in order, as soon as the parent ends."""
    parent = os.environ.pop(_PARENT, "")
    if not parent or sys.platform != "linux":
        return
    die_with_parent(signal.SIGTERM)
    if os.getppid() != int(parent):  # it ended before we could ask
        os.kill(os.getpid(), signal.SIGTERM)


def end_with(parent: int) -> None:
    """End at once, whatever this process does, as soon as its parent, the process `parent`, ends."""
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def die_with_parent(number: signal.Signals) -> None:
    """Ask the kernel for signal `number` when the thread that started this process ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def remove_folder(folder: Path) -> None:
    """Remove the temporary folder of a program of ours that was killed before it could; anything else stays."""
    if folder.name.startswith("swarm-"):
        shutil.rmtree(folder, ignore_errors=True)


def ending_signals() -> tuple[signal.Signals, ...]:
    """What shall end a long command in order: Ctrl-C (also where a script that started it ignores that), a polite kill,
    and a terminal that closes, unless `nohup` or its like said that it shall not.
    """
    hung_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hung_up)


def when_told(act: Callable[[], object], *numbers: signal.Signals) -> None:
    """Call `act` once, in a thread of its own, when one of these signals comes. A handler runs between any two steps of
    the main thread and of other handlers: one that asks for a lock that is held there waits for good. Python's
    `SimpleQueue` asks for none; `Event` does. The kernel tells of a parent's end once for each of its threads.
    """
    told: SimpleQueue[int] = SimpleQueue()
    threading.Thread(target=lambda: (told.get(), act()), name="ending", daemon=True).start()
    for number in numbers:
        signal.signal(number, lambda number, _: told.put(number))
