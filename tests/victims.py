"""Three peers, one of which is killed at a named moment: how the others go on, and how it comes back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from swarm.moments import Moment
from tests import faults
from tests.accounts import go_on, rounds_more
from tests.harness import Program
from tests.swarm_run import SwarmRun

OTHERS_SECONDS, BACK_SECONDS, GONE_SECONDS = 10.0, 30.0, 2.0
LEADER, OTHER = 0, 2  # by number; who joined first leads the rounds

MOMENTS: tuple[Moment, ...] = ("sync", "train", "ready", "exchange", "commit", "apply", "report", "checkpoint")


@dataclass(frozen=True)
class Survival:
    """Seconds after the kill: until the others had made two rounds more, until the victim counted again."""

    others: float
    back: float


class Three:
    """Three peers that train; one of them has a plan."""

    def __init__(self, run: SwarmRun, planned: int) -> None:
        self.run = run
        run.launch()
        self.peers: list[Program] = []
        for number in range(3):
            run.environment = faults.planned(run.folder) if number == planned else {}
            self.peers.append(run.join(f"peer{number}"))
            self.peers[-1].wait_for(lambda event: event.get("counted", 0) > 0, 60)
        self.victim = self.peers[planned]
        self.others = [peer for peer in self.peers if peer is not self.victim]

    def befalls(self, moment: Moment) -> None:
        """The victim's worker is killed when it comes to this moment."""
        before = faults.worker(self.victim)
        faults.at(self.run.folder, moment)
        if moment == "sync":  # it comes to that when it is behind
            with faults.frozen(before):
                go_on(self.others[0], 3)
        until(lambda: faults.happened(self.run.folder), 60)
        until(lambda: not any(of_group(process, before.pid) for process in psutil.process_iter()), GONE_SECONDS)

    def survive(self, moment: Moment, slow: float = 1.0) -> Survival:
        """Kill, and wait until the others have made two rounds and the victim counts again; `slow` times the limits."""
        self.befalls(moment)
        killed = time.monotonic()
        for peer in self.peers:
            peer.drain()
        self.others[0].wait_for(rounds_more(2), slow * OTHERS_SECONDS)
        others = time.monotonic() - killed
        counted = max(event.get("counted", 0) for event in self.victim.events)
        self.victim.wait_for(lambda event: event.get("counted", 0) > counted, slow * BACK_SECONDS)
        return Survival(round(others, 1), round(time.monotonic() - killed, 1))


def until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def of_group(process: psutil.Process, group: int) -> bool:
    """A ghost: one that the killed worker started, and that still runs."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == group
    except (psutil.Error, ProcessLookupError):
        return False
