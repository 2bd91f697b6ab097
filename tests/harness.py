"""Real peers of the exchange in processes of their own, for tests and benchmarks."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

Event = dict[str, Any]
ROOT = Path(__file__).parent.parent
_PATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


class Program:
    """A started program whose stdout is JSON lines; collects them as they come."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self.events: list[Event] = []
        self.stderr = ""
        self._arrived: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": _PATH, "PYTHONFAULTHANDLER": "1", **environment},
            start_new_session=True,
        )
        self._threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            self._arrived.put(event if isinstance(event, dict) else {"event": "line", "text": line.rstrip("\n")})
        self._arrived.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.stderr += line

    def wait_for(self, wanted: Callable[[Event], bool], seconds: float = 30.0) -> Event:
        """The next event that is `wanted`; AssertionError with everything heard when it does not come."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                event = self._arrived.get(timeout=left)
            except queue.Empty:
                break
            if event is None:
                break
            self.events.append(event)
            if wanted(event):
                return event
        raise AssertionError(f"not seen in {seconds} s; events: {self.events[-20:]}; stderr: {self.stderr[-3000:]}")

    def drain(self) -> None:
        """Look at all that was said until now: what is waited for next is said from now on."""
        while not self._arrived.empty():
            if (event := self._arrived.get()) is None:
                self._arrived.put(None)
                return
            self.events.append(event)

    def named(self, name: str, seconds: float = 30.0) -> Event:
        return self.wait_for(lambda event: event.get("event") == name, seconds)

    def finish(self, seconds: float = 30.0) -> int:
        """Wait for the end; the exit code. All events are in `events` then. AssertionError with what its threads do
        when it does not end.
        """
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it still runs after {seconds} s: {self.stacks()}") from error
        for thread in self._threads:
            thread.join(5)
        while (event := self._arrived.get(timeout=5)) is not None:
            self.events.append(event)
        return code

    def stacks(self) -> str:
        """End it, and say what its threads were doing: Python's fault handler writes that at an abort."""
        self.process.send_signal(signal.SIGABRT)
        for thread in self._threads:
            thread.join(5)
        return f"{self.events[-10:]} {self.stderr[-8000:]}"

    def every(self, name: str) -> list[Event]:
        return [event for event in self.events if event.get("event") == name]

    def kill(self) -> None:
        """kill -9 of this process alone."""
        self.process.kill()

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def clean_up(self) -> None:
        """End it and what it started, whatever state it is in."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        for process in [self.process, *children]:
            try:
                process.kill()
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


class ExchangePeers:
    """Peers of one exchange; the first is the bootstrap of the others."""

    def __init__(self, program: str = "tests.exchange_peer", **common: Any) -> None:
        self._program = program
        self._common = {"rounds": 5, "target": 24, "size": 40_000, **common}
        self._maddrs: list[str] = []
        self._folders: list[Path] = []
        self.peers: list[Program] = []

    def start(self, environment: Mapping[str, str] = {}, **settings: Any) -> Program:
        settings = {"seed": len(self.peers), "initial_peers": self._maddrs, **self._common, **settings}
        command = [sys.executable, "-m", self._program, json.dumps(settings)]
        folder = Path(tempfile.mkdtemp(prefix="p-"))
        self._folders.append(folder)
        peer = Program(command, TMPDIR=str(folder), **environment)
        self.peers.append(peer)
        self._maddrs = self._maddrs or peer.named("started")["maddrs"]
        return peer

    def clean_up(self) -> None:
        for peer in self.peers:
            peer.clean_up()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def finish(self, seconds: float = 40.0) -> list[Program]:
        for peer in self.peers:
            assert peer.finish(seconds) == 0, peer.stderr
        return self.peers


@contextmanager
def exchange_peers(program: str = "tests.exchange_peer", **common: Any) -> Iterator[ExchangePeers]:
    """Started peers are ended when the block ends, also after a failure."""
    peers = ExchangePeers(program, **common)
    try:
        yield peers
    finally:
        peers.clean_up()


def disputed(held: Mapping[int, set[str]]) -> dict[int, set[str]]:
    """The rounds after which not all held the same state, with the digests that they held."""
    return {round_: kinds for round_, kinds in held.items() if len(kinds) != 1}


def digests(peers: list[Program]) -> dict[int, set[str]]:
    """Every digest that any peer held after each round."""
    found: dict[int, set[str]] = {}
    for peer in peers:
        for event in peer.every("applied") + peer.every("synced"):
            found.setdefault(event["round"], set()).add(event["digest"])
    return found
