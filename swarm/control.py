"""Talking to a running peer of this machine: one line of JSON each way over a Unix socket in its folder.

Only the user who started the peer can open the socket (mode 0600).
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from swarm.errors import NotFoundError, UnreachableError, UsageError

_NAME = "control"
_LONGEST_PATH = 100  # characters that the kernel takes for a socket's path
_SECONDS = 2.0
_LONGEST = 4096  # bytes of a request

Answer = dict[str, Any]
Handler = Callable[[Answer], Answer]


def ask(folder: Path, request: Answer) -> Answer:
    """Send `request` to the peer that works in `folder`. Raises NotFoundError, UnreachableError, UsageError."""
    try:
        with _address(folder) as address, socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_SECONDS)
            line.connect(address)
            line.sendall(json.dumps(request).encode() + b"\n")
            answer: Answer = json.loads(_line(line))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotFoundError(f"No peer is running in {folder}.", "`swarm join` starts one.") from error
    except (OSError, ValueError) as error:
        remedy = "Try again; else stop it with Ctrl-C."
        raise UnreachableError(f"The peer in {folder} does not answer.", remedy) from error
    if why := answer.get("error"):
        raise UsageError(str(why))
    return answer


@contextmanager
def answering(folder: Path, handler: Handler) -> Iterator[None]:
    """Answer requests to the peer in `folder`, which no other peer uses, until the block ends."""
    (folder / _NAME).unlink(missing_ok=True)  # a peer that was killed left it
    with socket.socket(socket.AF_UNIX) as listener:
        with _address(folder) as address:
            listener.bind(address)
        (folder / _NAME).chmod(0o600)
        listener.listen()
        threading.Thread(target=_serve, args=(listener, handler), name="control", daemon=True).start()
        try:
            yield
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            (folder / _NAME).unlink(missing_ok=True)


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's path; by way of an open folder when it is too long for the kernel."""
    path = str(folder.absolute() / _NAME)
    if len(path.encode()) < _LONGEST_PATH or not Path("/proc/self/fd").exists():
        yield path
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{opened}/{_NAME}"
    finally:
        os.close(opened)


def _serve(listener: socket.socket, handler: Handler) -> None:
    while True:
        try:
            line, _ = listener.accept()
        except OSError:
            return
        with line, suppress(OSError):
            line.settimeout(_SECONDS)
            line.sendall(json.dumps(_answer(_line(line), handler)).encode() + b"\n")


def _answer(request: bytes, handler: Handler) -> Answer:
    try:
        return handler(dict(json.loads(request)))
    except (ValueError, KeyError, TypeError) as error:
        return {"error": f"The request cannot be understood: {error}."}


def _line(line: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < _LONGEST:
        if not (part := line.recv(_LONGEST)):
            break
        data += part
    return data
