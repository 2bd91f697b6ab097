"""Several files under way at once: what is said of them, and that all stop when one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed

Job = Callable[[], None]


class StoppedError(Exception):
    """Another file's failure, or Ctrl-C, ended this one; never seen by who waits for all."""


class Journey:
    """Told by the threads that carry files: `moved` gets every piece's bytes, `say` a line for each file."""

    def __init__(self, say: Callable[[str], None], moved: Callable[[int], None]) -> None:
        self._say = say
        self._moved = moved
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def say(self, line: str) -> None:
        with self._lock:
            self._say(line)

    def moved(self, count: int) -> None:
        """So many bytes more are there; fewer, when some have to be carried again. Raises StoppedError."""
        if self._stopped.is_set():
            raise StoppedError
        with self._lock:
            self._moved(count)

    def all(self, jobs: Iterable[Job], at_once: int) -> None:
        """Do all jobs. The first failure ends the others, and is raised; so does Ctrl-C."""
        with ThreadPoolExecutor(at_once) as workers:
            try:
                for done in as_completed([workers.submit(job) for job in jobs]):
                    done.result()
            except BaseException:
                self._stopped.set()
                workers.shutdown(wait=True, cancel_futures=True)
                raise
