"""A run's rounds and evaluations, brought to its trackers: each has a thread and a queue of its own, so that one that
hangs, fails or is away holds up neither the run nor the others.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from coordinator import decisions as d
from coordinator.rounds import RoundSummary
from coordinator.trackers import About, Point, Tracker, begin
from swarm import log

logger = log.get(__name__)

_WAITING = 1000  # points; a round or an evaluation is one
_AGAIN_SECONDS = 60.0  # after a tracker could not be opened
_STOP_SECONDS = 5.0  # for all that waits, when the coordinator ends


class Courier:
    """Brings points to one tracker, in their order. Each kind of trouble is said once; all that it costs is counted."""

    def __init__(self, name: str, opening: Callable[[], Tracker], waiting: int = _WAITING) -> None:
        self.name = name
        self.dropped = 0
        self._opening = opening
        self._tracker: Tracker | None = None
        self._opens_at = 0.0  # on the monotonic clock
        self._queue: queue.Queue[Point | None] = queue.Queue(waiting)
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._work, name=f"tracker-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, point: Point) -> None:
        """Returns at once, also when the point is dropped because too many wait."""
        try:
            self._queue.put_nowait(point)
        except queue.Full:
            self._drop("it is too slow")

    def stop(self) -> None:
        """Let it bring what waits, and close; call `wait` afterwards."""
        with suppress(queue.Empty):
            while self._queue.full():
                self._queue.get_nowait()
                self._drop("it is too slow")
        self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """For its end, at most so long; the thread ends with the process."""
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            logger.warning("%s: some %d points were not brought", self.name, self._queue.qsize())
        if self.dropped:
            logger.warning("%s: %d points were dropped", self.name, self.dropped)

    def _work(self) -> None:
        while point := self._queue.get():
            try:
                if tracker := self._opened():
                    tracker.note(point)
                else:
                    self.dropped += 1  # it is opened again later; why it was not is said
            except Exception as error:
                self._drop(type(error).__name__, f": {error}")
        self._close()

    def _opened(self) -> Tracker | None:
        if self._tracker is None and time.monotonic() >= self._opens_at:
            self._opens_at = time.monotonic() + _AGAIN_SECONDS
            self._tracker = self._opening()
        return self._tracker

    def _close(self) -> None:
        try:
            if self._tracker:
                self._tracker.close()
        except Exception as error:
            logger.warning("%s did not close: %s: %s", self.name, type(error).__name__, error)

    def _drop(self, kind: str, detail: str = "") -> None:
        self.dropped += 1
        if kind not in self._said:
            self._said.add(kind)
            logger.warning("%s: what is told to it is dropped: %s%s", self.name, kind, detail)


class Tracking:
    """All trackers of a run; without any it does nothing."""

    def __init__(self, couriers: Iterable[Courier]) -> None:
        self._couriers = list(couriers)

    @classmethod
    def start(cls, names: Iterable[str], about: About) -> Tracking:
        """With the trackers of these names."""
        tracking = cls(Courier(name, partial(_opened, name, about)) for name in names)
        for courier in tracking._couriers:
            courier.start()
        return tracking

    def round(self, summary: RoundSummary) -> None:
        """For `Chronicle.listeners`."""
        self._tell(Point(summary.round, summary.finished_at, of_round(summary)))

    def decided(self, decision: d.Decision) -> None:
        """For `Engine.listeners`: evaluations that were accepted."""
        if isinstance(decision, d.EvaluationAccepted):
            found = decision.evaluation
            numbers = {"heldout_loss": found.heldout_loss, **{f"heldout/{key}": n for key, n in found.metrics.items()}}
            self._tell(Point(found.round, time.time(), numbers))

    def dropped(self) -> dict[str, int]:
        """How many points each tracker did not get."""
        return {courier.name: courier.dropped for courier in self._couriers}

    def close(self) -> None:
        """Takes five seconds at most."""
        end = time.monotonic() + _STOP_SECONDS
        for courier in self._couriers:
            courier.stop()
        for courier in self._couriers:
            courier.wait(end - time.monotonic())

    def _tell(self, point: Point) -> None:
        for courier in self._couriers:
            courier.tell(point)


def _opened(name: str, about: About) -> Tracker:
    """Its library is loaded in the tracker's own thread: that takes seconds."""
    return begin(name)(about)


def of_round(summary: RoundSummary) -> dict[str, float]:
    """The numbers of a round's summary, by their names for trackers."""
    return {
        "loss": summary.loss,
        "samples": summary.samples,
        "global_samples": summary.global_samples,
        "members": summary.members,
        "compute_seconds": summary.compute_seconds,
        "exchange_seconds": summary.exchange_seconds,
    }
