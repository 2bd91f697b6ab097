"""The DHT's bootstrap node as a child process: started, watched, started again, ended with everything it started."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

from coordinator.nodepass import NodePapers
from coordinator.state import State
from swarm import lifetime, log, notes
from swarm.errors import StalledError

logger = log.get(__name__)

_READY_SECONDS = 120.0  # on a machine that is busy, torch and hivemind alone may take one minute
_LONGEST_PAUSE = 60.0
_GENTLE_SECONDS = 3.0
_LOOK_SECONDS = 0.5
_ENOUGH = 20
MEMBERS = "members"


def addresses(state: State) -> list[str]:
    """Where some of the live members are reached, as multiaddrs: enough to find the others through them."""
    return list(islice((address for member in state.live for address in member.pulse.maddrs), _ENOUGH))


class Addresses:
    """Where members were reached last, kept in the folder: whoever leads the run next finds the swarm there."""

    def __init__(self, folder: Path, now: Callable[[], list[str]]) -> None:
        self._path = folder / MEMBERS
        self._now = now
        self._kept: list[str] = []

    def known(self) -> list[str]:
        """Those of live members; without any, those that were kept."""
        return self._now() or notes.kept(self._path).split()

    def keep(self) -> None:
        """Keep them when they changed. Nothing depends on it at once, so a full disk is no reason to stop."""
        now = self._now()
        if not now or now == self._kept:
            return
        self._kept = now
        with suppress(OSError):
            notes.keep(self._path, " ".join(now))


class Bootstrap:
    """`command` prints {"maddrs": […]} when it answers. Without a command there is no node (tests).

    `known` gives multiaddrs of members, so that a node that starts again finds the swarm; `note` names its temporary
    folder; `papers` are those of the node, which says who it is before it asks for them.
    """

    def __init__(
        self, command: tuple[str, ...], known: Callable[[], list[str]], note: Path, papers: NodePapers
    ) -> None:
        self.maddrs: list[str] = []
        self._command = command
        self._known = known
        self._note = note
        self._papers = papers
        self._process: subprocess.Popen[str] | None = None
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._errors: deque[str] = deque(maxlen=5)
        self._ending = threading.Event()

    def start(self) -> None:
        """Start the node, wait until it answers, watch it from then on. Raises StalledError with its own last words."""
        if self._command:
            self._start_once()
            threading.Thread(target=self._watch, name="bootstrap", daemon=True).start()

    def stop(self) -> None:
        """End the node; nothing of it is left."""
        self._ending.set()
        process = self._process
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GENTLE_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        lifetime.remove_folder(Path(notes.kept(self._note)))

    def _start_once(self) -> None:
        process = subprocess.Popen(
            [*self._command, "--initial-peers", *self._known()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=lifetime.child_environment(),
            start_new_session=True,
        )
        self._process, self._said = process, queue.SimpleQueue()
        for stream, take in ((process.stdout, self._said.put), (process.stderr, self._heard)):
            threading.Thread(target=_read, args=(stream, take), daemon=True).start()
        try:
            self._papers.begin(bytes.fromhex(self._next_said()["node"]))
            self.maddrs = list(self._next_said()["maddrs"])
        except (queue.Empty, ValueError, KeyError) as error:
            last = " ".join(self._errors).strip() or f"no answer in {_READY_SECONDS:.0f} s"
            raise StalledError(
                f"The bootstrap node of the swarm's network did not start: {last}",
                "Check that no firewall or security program stops p2pd; the coordinator's log may say more.",
            ) from error

    def _next_said(self) -> dict[str, Any]:
        return dict(json.loads(self._said.get(timeout=_READY_SECONDS)))

    def _heard(self, line: str) -> None:
        self._errors.append(line)
        if text := line.strip():
            logger.warning("the bootstrap node says: %s", text)

    def _watch(self) -> None:
        pause = 1.0
        while not self._ending.wait(_LOOK_SECONDS):
            self._papers.keep()
            if self._process is None or self._process.poll() is None:
                continue
            logger.warning("the bootstrap node ended; it is started again in %.0f s", pause)
            if self._ending.wait(pause):
                return
            began = time.monotonic()
            try:
                self._start_once()
            except StalledError as error:
                logger.warning("%s", error)
            pause = 1.0 if time.monotonic() - began > _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)


def _read(stream: IO[str], take: Callable[[str], None]) -> None:
    with stream:
        for line in stream:
            take(line)
    take("")  # so that nobody waits for a program that ended
