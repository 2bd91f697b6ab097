"""What the supervisor wants of a worker that trains."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_TELL_SECONDS = 5.0


@dataclass
class Orders:
    """Changed by the supervisor's notes, read by the training loop."""

    stop: threading.Event = field(default_factory=threading.Event)  # at once
    drain: threading.Event = field(default_factory=threading.Event)  # once what it computed is in a round
    duty: float = 1.0  # part of the time that it computes
    upload: float = 0.0  # bytes per second for what others get, 0 is no cap
    doubt: tuple[str, str] | None = None  # the digest of a state that is not the run's, and why not
    moved: str = ""  # where the run is led now, as its coordinator signed it; empty: where it was

    def rest(self, seconds: float, tell: Callable[[], None]) -> None:
        """Wait, after so many seconds of computing, as the duty wants it; not once it shall stop. `tell` is called all
        the while: who says nothing for long is taken to hang.
        """
        end = time.monotonic() + seconds * (1 / self.duty - 1)
        while (left := end - time.monotonic()) > 0 and not self.stop.wait(min(left, _TELL_SECONDS)):
            tell()
