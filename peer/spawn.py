"""Starting the worker, and making sure that nothing of it is left, by whatever way it ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from peer import processes
from swarm import lifetime, lock, log, notes
from swarm.errors import UsageError, from_os_error

logger = log.get(__name__)

_LAST_WORDS_SECONDS = 2.0
_OURS = ("peer.worker", "p2pd")


@dataclass(frozen=True)
class Worker:
    """A started worker: the leader of its own process group, with a temporary folder that is its TMPDIR."""

    process: subprocess.Popen[bytes]
    line: socket.socket
    folder: Path
    note: Path

    def ended(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll()

    def abort(self) -> None:
        """End one that hangs. What each of its threads was doing is in its output, if it can still say so."""
        self.process.send_signal(signal.SIGABRT)
        self.end(_LAST_WORDS_SECONDS)

    def end(self, seconds: float) -> None:
        """Wait for it at most so long, then kill it with everything it started; remove its folder."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        kill_group(self.process.pid)
        self.process.wait()
        _clean(self.folder, self.note)


def start_worker(data_dir: Path, threads: int) -> Worker:
    """Start `python -m peer.worker` in a process group of its own, so that Ctrl-C reaches the supervisor only."""
    folder = Path(tempfile.mkdtemp(prefix="swarm-"))
    ours, theirs = socket.socketpair()
    with theirs, (data_dir / "worker.out").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "peer.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**lifetime.child_environment(), "TMPDIR": str(folder), "OMP_NUM_THREADS": str(threads)},
            start_new_session=True,
        )
    note = data_dir / "worker.json"
    notes.keep(note, json.dumps({"group": process.pid, "folder": str(folder)}))
    return Worker(process, ours, folder, note)


def all_devices() -> tuple[str, ...]:
    """The names of all devices that torch can use here; asked of a process that ends at once, because it loads torch.

    Raises UsageError when torch does not start.
    """
    command, environment = [sys.executable, "-m", "peer.device"], lifetime.child_environment()
    asked = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if asked.returncode:
        said = asked.stderr.strip().splitlines() or ["no word"]
        raise UsageError(f"The devices of this machine could not be listed: {said[-1]}.", "Name them with --device.")
    return tuple(asked.stdout.split())


def reap_leftovers(data_dir: Path) -> None:
    """End what an earlier peer in this data directory left behind when it was killed together with its supervisor."""
    note = data_dir / "worker.json"
    with suppress(OSError, ValueError, KeyError):
        left = json.loads(notes.kept(note))
        if kill_group(int(left["group"])):
            logger.warning("processes of an earlier peer were still running; they were ended")
        _clean(Path(left["folder"]), note)


def kill_group(group: int) -> bool:
    """Kill the group, but only processes that are ours: ids are used again. True when there was one."""
    found = [process for process in psutil.process_iter() if _belongs(process, group)]
    processes.kill(found)
    return bool(found)


def _belongs(process: psutil.Process, group: int) -> bool:
    try:
        same_group = os.getpgid(process.pid) == group
        return same_group and any(name in part for part in process.cmdline() for name in _OURS)
    except (psutil.Error, OSError):
        return False


def _clean(folder: Path, note: Path) -> None:
    lifetime.remove_folder(folder)
    note.unlink(missing_ok=True)


@contextmanager
def only_peer(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process; the lock ends with the process, however it ends.

    Raises UsageError when another peer uses it, DiskError when it cannot be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = lock.hold(data_dir / "peer.lock")
    except lock.HeldError as other:
        raise UsageError(
            f"Another peer (process {other.process}) already works in {data_dir}.",
            "Stop it first with `swarm stop`, or give this one a folder of its own with --data-dir.",
        ) from other
    except OSError as error:
        raise from_os_error(error, "opening the peer's folder") from error
    with file:
        yield
