"""Keeping a worker within the volunteer's limits while it runs, and telling the screen how the machine fares."""

from __future__ import annotations

import time
from collections.abc import Callable

from peer import nvidia
from peer.bridge import Bridge
from peer.door import Door
from peer.seats import PeerEvent

_SECONDS = 5.0
_LEAST_DUTY = 0.05


def duty_for(wanted: float, cap: float, watts: float, duty: float) -> float:
    """The part of the time to compute next: as `wanted`, but less when the card draws more than `cap` watts (0: no
    cap) at `duty`. It goes up again by a tenth at most, because the draw follows slowly.
    """
    if not cap or not watts:
        return wanted
    return max(_LEAST_DUTY, min(wanted, 1.1 * duty, duty * cap / watts))


class Throttle:
    """One worker's. `look` is called often and does something every five seconds."""

    def __init__(self, door: Door, bridge: Bridge, say: Callable[[PeerEvent], None], device: str) -> None:
        self._door = door
        self._bridge = bridge
        self._say = say
        self._device = device
        self._duty = 1.0
        self._upload = door.upload
        self._looked = 0.0

    def look(self) -> None:
        """Measure, tell, and slow the worker down or not."""
        if time.monotonic() - self._looked < _SECONDS:
            return
        self._looked, limits, heat = time.monotonic(), self._door.settings.limits, nvidia.heat(self._device)
        self._say({"event": "machine", **(vars(heat) if heat else {}), **self._door.figures()})
        duty = duty_for(limits.duty_percent / 100, limits.watts, heat.watts if heat else 0.0, self._duty)
        if duty != self._duty:
            self._duty = duty
            self._bridge.notify("duty", part=duty)
        if self._door.upload != self._upload:
            self._upload = self._door.upload
            self._bridge.notify("upload", rate=self._upload)
