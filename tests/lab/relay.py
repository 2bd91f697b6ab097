"""The links' delay and loss: `python relay.py LINKS`, for a kernel without `tc netem`.

LINKS is a JSON list of {"number", "name", "delay" (seconds), "loss" (0 to 1), "seed"}. A link has two TAP devices,
`host<number>` and `port<number>`; what one sends comes out of the other `delay` later, or never. The rates are the
kernel's work, so a relay that gets the processor late makes packets late but never makes a link slower or faster.
Prints one line when the devices are there; ends when its standard input does, and the devices with it.

On a link without loss packets pass as the kernel has them, several segments in one, which is a fraction of the work.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any

_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_CSUM, _TSO4 = 0x01, 0x02
_LARGEST = 65536 + 64  # a packet of several segments with its headers
_KIND = slice(22, 24)  # behind the 10 bytes of the kernel's own header and two hardware addresses
_IPV4 = b"\x08\x00"  # what may be lost; home links have no questions for hardware addresses that could be
_BATCH = 64  # packets from one device before the others have their turn
_IDLE_SECONDS = 1.0
_GATHER_SECONDS = 0.001  # after a packet, for those behind it: one waking for all halves the work


def tap(name: str, segmented: bool) -> int:
    """A new TAP device; `segmented`: every packet that it gives fits the wire."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
    fcntl.ioctl(device, _TUNSETOFFLOAD, _CSUM if segmented else _CSUM | _TSO4)
    return device


class Way:
    """One direction of a link. The delay is the same for all, so the first that came is the first that leaves."""

    def __init__(self, source: int, sink: int, delay: float, loss: float, chance: random.Random) -> None:
        self.source = source
        self.waiting: deque[tuple[float, bytes]] = deque()
        self._sink = sink
        self._delay = delay
        self._loss = loss
        self._chance = chance

    def take(self, now: float) -> None:
        due = now + self._delay - _GATHER_SECONDS
        with suppress(BlockingIOError):
            for _ in range(_BATCH):
                packet = os.read(self.source, _LARGEST)
                if not self._loss or packet[_KIND] != _IPV4 or self._chance.random() >= self._loss:
                    self.waiting.append((due, packet))

    def give(self, now: float) -> None:
        waiting = self.waiting
        while waiting and waiting[0][0] <= now:
            with suppress(OSError):  # the device is down: the link is cut
                os.write(self._sink, waiting.popleft()[1])


def ways(link: dict[str, Any]) -> list[Way]:
    """Both directions of a link, each with its own chance."""
    host, port = (tap(f"{end}{link['number']}", bool(link["loss"])) for end in ("host", "port"))
    ends = {"up": (host, port), "down": (port, host)}
    return [
        Way(*pair, link["delay"], link["loss"], random.Random(f"{link['seed']} {link['name']} {direction}"))
        for direction, pair in ends.items()
    ]


def relay(every: list[Way], until: int) -> None:
    """Carry packets until `until` can be read."""
    of = {way.source: way for way in every}
    sources = [until, *of]
    while True:
        due = min((way.waiting[0][0] for way in every if way.waiting), default=time.monotonic() + _IDLE_SECONDS)
        ready, _, _ = select.select(sources, [], [], max(0.0, due - time.monotonic()))
        if until in ready:
            return
        if ready:
            time.sleep(max(0.0, min(_GATHER_SECONDS, due - time.monotonic())))
        now = time.monotonic()
        for source in ready:
            of[source].take(now)
        for way in every:
            way.give(now)


def main() -> None:
    with suppress(PermissionError):  # in front of the peers that train on the same processors
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    every = [way for link in json.loads(sys.argv[1]) for way in ways(link)]
    print("ready", flush=True)
    relay(every, sys.stdin.fileno())


if __name__ == "__main__":
    main()
