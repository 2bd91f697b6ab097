"""How long a call may say nothing, or leave its answer unread: a thread waits with it.

gRPC itself waits for ever. What comes pays for the time that it took, so that a slow line may take long and one that
says a byte now and then may not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

SECONDS = 10.0  # of silence; a message of 64 KiB comes within them at 0.06 Mbit/s
_CROWDED_SECONDS = 0.25
_CROWD = 64  # that wait for a first message, which comes with its call: of more than this most wait in vain
_SLOWEST = 4 << 10  # bytes per second


@dataclass(frozen=True)
class Wait:
    """A thread waits with the call `context`, for its first message or a later one. `since`: by the clock, seconds."""

    context: grpc.ServicerContext
    since: float
    first: bool


def overdue(waits: Iterable[Wait], now: float) -> list[Wait]:
    """Which have waited too long; in a crowd those before the newest `_CROWD` may not wait. Pure."""
    waits = sorted(waits, key=lambda wait: wait.since)
    first = [wait for wait in waits if wait.first]
    early = {id(wait) for wait in first[:-_CROWD]}
    return [wait for wait in waits if now - wait.since > (_CROWDED_SECONDS if id(wait) in early else SECONDS)]


class Patience:
    """Threads of the gRPC server wait here; another one calls `look`. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waits: dict[int, Wait] = {}  # by the call: one waits for one thing at a time

    def look(self) -> None:
        """End the calls that are overdue: their threads go on at once."""
        for wait in overdue(list(self._waits.values()), self._clock()):
            wait.context.cancel()

    def heard(self, messages: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """The messages of a call while they come in time; of one that is ended no more."""
        owed, first = 0.0, True
        while True:
            began = self._clock()
            with self._waiting(Wait(context, began - owed, first)):
                message = next(messages, None)
            if message is None:
                return
            owed, first = self._owed(owed, began, message), False
            yield message

    def told(self, messages: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """The messages of an answer while the caller takes them in time."""
        owed = 0.0
        for message in messages:
            began = self._clock()
            with self._waiting(Wait(context, began - owed, False)):
                yield message
            owed = self._owed(owed, began, message)

    def _owed(self, owed: float, began: float, message: Any) -> float:
        """Seconds of silence so far that no bytes paid for; what we took ourselves does not count."""
        return float(max(0.0, owed + self._clock() - began - message.ByteSize() / _SLOWEST))

    @contextmanager
    def _waiting(self, wait: Wait) -> Iterator[None]:
        self._waits[id(wait)] = wait
        try:
            yield
        finally:
            del self._waits[id(wait)]
