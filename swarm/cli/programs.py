"""Programs of ours that another program of ours runs: their lines, and their certain end."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from swarm import lifetime
from swarm.errors import SwarmError

Event = dict[str, Any]

_GENTLE_SECONDS = 8.0  # a join leaves within 5 s, a launch within 3


class Program:
    """A `swarm` command in a process of its own; it ends when this process ends.

    Every line of its output becomes an event: JSON as it is, other text as {"event": "line", "text": …}.
    """

    def __init__(self, name: str, arguments: list[str], events: queue.SimpleQueue[tuple[str, Event]]) -> None:
        self.name = name
        self._arguments = arguments
        self._events = events
        self._errors: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    def start(self) -> None:
        """Start it, out of the reach of the terminal's Ctrl-C."""
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "swarm.cli", *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=lifetime.child_environment(),
            start_new_session=True,
        )
        for stream, take in ((process.stdout, self._take), (process.stderr, self._errors.append)):
            reader = threading.Thread(target=_each_line, args=(stream, take), daemon=True)
            reader.start()
            self._readers.append(reader)

    def ended(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll() if self._process else None

    def require_success(self) -> None:
        """Raises SwarmError with the program's own last words when it failed."""
        if self.ended():
            said = "".join(self._errors).strip().splitlines()
            last = said[-1].removeprefix("swarm: ") if said else f"exit code {self.ended()}"
            raise SwarmError(f"{self.name} failed: {last}", "Run the command again with --debug after `swarm`.")

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def end(self, seconds: float = _GENTLE_SECONDS) -> None:
        """Wait for its end, at most so long, then kill it."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(1.0)
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()

    def _take(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        self._events.put((self.name, event if isinstance(event, dict) else {"event": "line", "text": line.rstrip()}))


def _each_line(stream: Any, take: Any) -> None:
    with suppress(ValueError):  # closed while reading
        for line in stream:
            take(line)


def arriving(events: queue.SimpleQueue[tuple[str, Event]], seconds: float) -> Iterator[tuple[str, Event]]:
    """What arrives within `seconds`, then nothing more."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            yield events.get(timeout=left)
        except queue.Empty:
            return


def end_all(programs: list[Program]) -> None:
    """Interrupt all, then wait for each."""
    for program in programs:
        program.interrupt()
    for program in programs:
        program.end()
