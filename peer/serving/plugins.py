"""A bundle's plugins: programs that the model calls by what it writes, each call in a process of its own.

The program gets one JSON object on stdin, {"arguments": {…}, "read": […], "write": […]}, and answers
with JSON on stdout.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from peer.serving import limits, seccomp
from peer.serving.sandbox import Grant, Sandbox, Unconfined, found
from swarm import log
from swarm.bundle.caps import Plugin
from swarm.errors import RefusedError, UsageError

logger = log.get(__name__)

_LONGEST = 16 << 10  # bytes of what a plugin answers, and of what it is asked
_GOODBYE = 1.0  # seconds
_WRITTEN = 64 << 20  # bytes of one file, where it may write at all
OPEN, CLOSE = "<tool_call>", "</tool_call>"


@dataclass(frozen=True)
class Result:
    """What a call gave, as the model reads it; `ok` is False when the plugin did not answer."""

    text: str
    ok: bool


class Plugins:
    """Those of one bundle. `programs`: their source, by their names, read when the bundle was verified."""

    def __init__(
        self, known: Mapping[str, Plugin], programs: Mapping[str, bytes], grants: Mapping[str, Grant], sandbox: Sandbox
    ) -> None:
        self.known = known
        self._programs = programs
        self._grants = grants
        self._sandbox = sandbox
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, name: str, arguments: object) -> Result:
        """Never raises for what the model or the plugin does: the model is told."""
        plugin = self.known.get(name)
        if plugin is None or not isinstance(arguments, dict) or not set(arguments) <= set(plugin.parameters):
            return Result(f"There is no such call; there are: {_signatures(self.known)}.", False)
        grant = self._grants.get(name, Grant())
        asked = json.dumps({"arguments": arguments, **self._sandbox.folders(grant)}).encode()
        if len(asked) > _LONGEST:
            return Result("The arguments are too long.", False)
        result = _read(self._run(plugin, grant, asked))
        logger.info("plugin %s: %s", name, "answered" if result.ok else result.text)
        return result

    def _run(self, plugin: Plugin, grant: Grant, asked: bytes) -> bytes | str:
        """What it printed, or why it did not."""
        with _open(self._programs[plugin.name]) as program, _open(seccomp.program(grant.network)) as rules:
            kept = rules if os.fstat(rules).st_size else -1
            command = self._sandbox.command(program, kept, grant)
            most = (math.ceil(plugin.seconds) + 1, plugin.memory_mb, _WRITTEN)
            with _started([*_limited(*most), *command], program, rules) as self._process:
                return _talked(self._process, asked, plugin.seconds)

    def stop(self) -> None:
        """End the call that is under way, from another thread: nobody waits for its answer any more."""
        if self._process:
            _end(self._process)


def described(plugins: Mapping[str, Plugin]) -> str:
    """What the model is told of them; empty without any."""
    if not plugins:
        return ""
    listed = "\n".join(f"- {_signature(item)}: {item.description}" for item in plugins.values())
    form = f'{OPEN}{{"name": "NAME", "arguments": {{"PARAMETER": "VALUE"}}}}{CLOSE}'
    how = f"To call one, write {form} and nothing after it; you are then told the result."
    return f"You can call these tools:\n{listed}\n{how}"


def as_called(text: str) -> tuple[str, object]:
    """Name and arguments in what the model wrote between the two signs; an empty name when that is no call."""
    try:
        said = json.loads(text)
        return str(said["name"]), said.get("arguments", {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", {}


def sandbox_for(known: Mapping[str, Plugin], unsandboxed: bool) -> Sandbox:
    """Raises RefusedError where plugins cannot be kept in, unless the user said that they need not be."""
    if unsandboxed:
        return Unconfined()
    sandbox, why = found()
    if sandbox is None and known:
        raise RefusedError(
            f"This bundle has plugins ({', '.join(known)}), and nothing here can keep them in: {why}.",
            "Install bubblewrap, or run without plugins (--no-plugins), or, if you trust whoever made the bundle with "
            "all of your files, say --unsandboxed-plugins.",
        )
    return sandbox or Unconfined()


def granted(said: list[str], known: Mapping[str, Plugin]) -> dict[str, Grant]:
    """From NAME:network, NAME:read=FOLDER, NAME:write=FOLDER. Raises UsageError for a right that no plugin declares."""
    grants: dict[str, Grant] = {}
    for item in said:
        name, _, right = item.partition(":")
        kind, _, where = right.partition("=")
        plugin, before = known.get(name), grants.get(name, Grant())
        declared = plugin is not None and kind in ("network", "read", "write") and bool(getattr(plugin, kind))
        folder = Path(where).expanduser().resolve()
        if not declared or (kind != "network") != bool(where) or (where and not folder.is_dir()):
            raise UsageError(
                f"--allow {item}: no plugin of this bundle declares that right, or the folder is not there.",
                f"Declared are: {_declared(known) or 'none'}.",
            )
        more = {"network": True} if kind == "network" else {kind: (*getattr(before, kind), folder)}
        grants[name] = Grant(**{**vars(before), **more})
    return grants


def _declared(known: Mapping[str, Plugin]) -> str:
    kinds = ("network", "read", "write")
    suffix = {"network": "", "read": "=FOLDER", "write": "=FOLDER"}
    return ", ".join(f"{n}:{kind}{suffix[kind]}" for n, item in known.items() for kind in kinds if getattr(item, kind))


def _signatures(known: Mapping[str, Plugin]) -> str:
    return "; ".join(map(_signature, known.values())) or "none"


def _signature(plugin: Plugin) -> str:
    return f"{plugin.name}({', '.join(f'{name}: {what}' for name, what in plugin.parameters.items())})"


@contextlib.contextmanager
def _open(data: bytes) -> Iterator[int]:
    """A file without a name, at its beginning."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file.fileno()


def _limited(seconds: int, megabytes: int, file_bytes: int) -> list[str]:
    return [sys.executable, "-I", "-S", limits.__file__, str(seconds), str(megabytes), str(file_bytes), "--"]


@contextlib.contextmanager
def _started(command: list[str], *files: int) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own, all of which is ended."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"LANG": "C.UTF-8"},
        cwd="/",
        pass_fds=files,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """From the inside out, so that each one is still there to bury those below it."""
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
    for child in reversed(children):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    if not (children and _ended(process, _GOODBYE)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _talked(process: subprocess.Popen[bytes], asked: bytes, seconds: float) -> bytes | str:
    assert process.stdin
    assert process.stdout
    end, answer = time.monotonic() + seconds, b""
    with contextlib.suppress(BrokenPipeError):  # _LONGEST fits into a pipe, so this does not wait
        process.stdin.write(asked)
        process.stdin.close()
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0 and ready.select(left):
            part = os.read(process.stdout.fileno(), _LONGEST)
            answer += part
            if len(answer) > _LONGEST:
                return f"it printed more than {_LONGEST} bytes"
            if not part and _ended(process, end - time.monotonic()):
                return answer if process.returncode == 0 else f"it failed with exit code {process.returncode}"
    return f"it took longer than {seconds:g} s"


def _ended(process: subprocess.Popen[bytes], left: float) -> bool:
    try:
        process.wait(max(0.0, left))
    except subprocess.TimeoutExpired:
        return False
    return True


def _read(answer: bytes | str) -> Result:
    if isinstance(answer, str):
        return Result(f"The tool gave no answer: {answer}.", False)
    try:
        return Result(json.dumps(json.loads(answer), ensure_ascii=False), True)
    except (ValueError, RecursionError):
        return Result("The tool gave no answer: what it printed is not JSON.", False)
