"""Whether a worker may run now: the volunteer's settings and hand, the sensors, and the month's traffic, together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from peer.line import Line
from peer.neighbour import Decision, Pause, Run, decide, unseen
from peer.sensors import Sensors
from peer.traffic import Traffic
from swarm import log
from swarm.errors import SwarmError
from swarm.neighbour import Neighbour, load

logger = log.get(__name__)

_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Held:
    """The volunteer's own word: do not train, until a time or until told otherwise."""

    until: datetime | None = None


class Door:
    """Supervisors ask it again and again; commands change it. Threads may share it."""

    def __init__(
        self, config: Path, sensors: Sensors, traffic: Traffic, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = Neighbour()
        self._config = config
        self._sensors = sensors
        self._traffic = traffic
        self._clock = clock
        self._held: Held | None = None
        self._unseen: list[str] = []
        self._told: set[str] = set()
        self._decision: Decision = Run()
        self._looked = float("-inf")
        self._lock = threading.Lock()
        self._line = Line(lambda: self.upload)
        self._sending = threading.Lock()

    def decision(self) -> Decision:
        """What holds now; looked at anew every two seconds. A setting that was changed counts at once."""
        with self._lock:
            if self._clock() - self._looked >= _LOOK_SECONDS:
                self._looked = self._clock()
                self._decision = self._look()
            return self._decision

    def pause(self, seconds: float = 0.0) -> None:
        """Hold it shut for so long, 0 until `resume`."""
        self._held = Held(self._sensors.now() + timedelta(seconds=seconds) if seconds else None)
        self._looked = float("-inf")

    def resume(self) -> None:
        """Take back a `pause`, and wait no longer for a reason to stay away; the rules of the settings go on."""
        with self._lock:
            self._held, self._decision = None, Run()
            self._looked = float("-inf")

    def news(self) -> list[str]:
        """What the volunteer should know of the rules, each sentence once."""
        with self._lock:
            fresh = [text for text in self._unseen if text not in self._told]
            self._told |= set(fresh)
            return fresh

    def passed(self, count: int) -> None:
        """Bytes went over the line."""
        self._traffic.add(count, self._sensors.now())

    def send(self, count: int) -> None:
        """Return when so many bytes may leave for the coordinator, and count them."""
        with self._sending:
            delay = self._line.delay(count, self._clock())
        time.sleep(delay)
        self.passed(count)

    @property
    def upload(self) -> float:
        """The cap on what is sent, bytes per second; 0 for none."""
        return self.settings.limits.upload_megabits * 1e6 / 8

    def figures(self) -> dict[str, object]:
        """For the screen: bytes of today and of this month, and when the hours end, empty when they do not."""
        now, decision = self._sensors.now(), self.decision()
        until = decision.until if isinstance(decision, Run) else None
        return {
            "today": self._traffic.today(now),
            "month": self._traffic.month(now),
            "until": f"{until:%H:%M}" if until else "",
        }

    def _look(self) -> Decision:
        now = self._sensors.now()
        if self._held and self._held.until and now >= self._held.until:
            self._held = None
        if self._held:
            return Pause("you said so", self._held.until)
        self._read()
        seen = replace(self._sensors.look(self.settings.when), month_bytes=self._traffic.month(now))
        self._unseen = unseen(self.settings, seen)
        return decide(self.settings, seen, now, self._decision)

    def _read(self) -> None:
        """A file that was damaged while the peer runs changes nothing: the last good settings go on."""
        try:
            self.settings = load(self._config)
        except SwarmError as error:
            logger.warning("%s", error)
