"""The line between supervisor and worker: JSON lines over a socket pair.

The supervisor holds gRPC, the worker holds torch and hivemind, because gRPC and fork do not mix. Either side may call
the other (and wait for the answer) or notify it.
"""

from __future__ import annotations

import itertools
import json
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from swarm import log
from swarm.errors import SwarmError, UnreachableError, from_code

logger = log.get(__name__)

Handler = Callable[..., Any]
_HANDLERS = 4


class Bridge:
    """One end of the line. Handlers run in a few threads, so a slow one does not hold back the others; the threads are
    daemons, so it does not hold back the exit either.
    """

    def __init__(self, sock: socket.socket, handlers: Mapping[str, Handler], on_closed: Callable[[], None]) -> None:
        self._sock = sock
        self._handlers = handlers
        self._on_closed = on_closed
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._sending = threading.Lock()
        self._heard: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._closed = False

    def start(self) -> None:
        """Begin to read and to answer, in threads of its own."""
        threading.Thread(target=self._read, name="bridge-reader", daemon=True).start()
        for number in range(_HANDLERS):
            threading.Thread(target=self._handle_all, name=f"bridge-{number}", daemon=True).start()

    def notify(self, method: str, **params: Any) -> None:
        """Tell the other side something; nothing comes back. A closed line is not an error."""
        try:
            self._send({"method": method, "params": params})
        except OSError:
            logger.debug("the other side is gone; %s was not heard", method)

    def call(self, method: str, seconds: float = 60.0, **params: Any) -> Any:
        """Ask the other side and wait. Raises its SwarmError, or UnreachableError when it is gone or silent."""
        number = next(self._ids)
        answers = self._answers[number] = queue.SimpleQueue()
        try:
            self._send({"method": method, "params": params, "id": number})
            answer = answers.get(timeout=seconds)
        except (OSError, queue.Empty) as error:
            raise UnreachableError(f"The other process did not answer ({method}).", "It is being restarted.") from error
        finally:
            del self._answers[number]
        if "error" in answer:
            raise from_code(answer["error"], answer["what"], answer["remedy"])
        return answer["result"]

    def close(self) -> None:
        """Hang up; the other side sees the end of the line."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            logger.debug("the line was already closed")
        self._sock.close()
        self._closed = True
        for _ in range(_HANDLERS):
            self._heard.put(None)

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._sending:
            self._sock.sendall(line)

    def _read(self) -> None:
        try:
            with self._sock.makefile("rb") as lines:
                for line in lines:
                    self._receive(json.loads(line))
        except (OSError, ValueError) as error:
            logger.debug("the line ended: %s", error)
        self._on_closed()

    def _receive(self, message: dict[str, Any]) -> None:
        if "method" in message:
            self._heard.put(message)
        elif (answers := self._answers.get(message["id"])) is not None:
            answers.put(message)

    def _handle_all(self) -> None:
        while (message := self._heard.get()) is not None and not self._closed:
            self._handle(message)

    def _handle(self, message: dict[str, Any]) -> None:
        try:
            answer = {"result": self._handlers[message["method"]](**message["params"])}
        except SwarmError as error:
            answer = {"error": error.code, "what": error.what, "remedy": error.remedy}
        except Exception as error:
            logger.exception("%s failed", message["method"])
            answer = {
                "error": SwarmError.code,
                "what": f"{message['method']} failed: {error}.",
                "remedy": "See the log.",
            }
        if "id" in message:
            try:
                self._send({**answer, "id": message["id"]})
            except OSError:
                logger.debug("nobody waits for the answer to %s", message["method"])
