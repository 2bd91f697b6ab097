"""A night in a minute: a volunteer's peer with a scripted clock and scripted sensors, all else real."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.accounts import said
from tests.harness import Event, Program
from tests.swarm_run import SwarmRun, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

SECONDS = 40.0


class Night:
    """One volunteer's machine."""

    def __init__(self, run: SwarmRun, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = run
        self.script = run.folder / "sensors.json"
        monkeypatch.setenv("SWARM_TEST_SENSORS", str(self.script))
        self.see("21:00")
        self.swarm("config", "set", "when.hours", "22:00-07:30")
        self.swarm("config", "set", "when.programs", "game; movie")
        self.peer = run.join("one")
        self.counted = 0

    def see(self, clock: str, **seen: Any) -> None:
        later = self.script.with_suffix(".new")
        later.write_text(json.dumps({"now": f"2026-11-{28 if clock < '12' else 27}T{clock}:00+00:00", **seen}))
        later.replace(self.script)

    def swarm(self, *arguments: str) -> str:
        return said(self.run, *arguments)

    def pauses(self, why: str) -> None:
        """The reason is said, and the worker, with all that it holds, is gone."""
        self.peer.wait_for(lambda event: event.get("event") == "pause" and why in event["text"], SECONDS)
        assert not (self.run.folder / "one" / "worker.json").exists()
        assert psutil.Process(self.peer.process.pid).children(recursive=True) == []

    def trains(self) -> None:
        """Samples are counted, more than before."""
        self.counted = self.peer.wait_for(self._counted_more(), SECONDS)["counted"]

    def _counted_more(self) -> Callable[[Event], bool]:
        return lambda event: event.get("event") == "status" and event.get("counted", 0) > self.counted


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    with swarm_run(tmp_path, rounds=100_000, every=1) as run:
        run.launch()
        yield Night(run, monkeypatch)


@pytest.mark.long
def test_a_night_in_a_minute(night: Night) -> None:
    night.pauses("paused until Fri 22:00: outside the hours")
    night.see("22:10")
    night.trains()
    night.see("22:30", programs=["game"])
    night.pauses("game is running")
    night.see("23:30")
    night.trains()
    night.see("23:50", on_battery=True)
    night.pauses("on battery")
    night.see("00:30", on_battery=False)
    night.trains()
    coordinator_is_away_for_a_while(night)
    night.see("08:00")
    night.pauses("paused until Sat 22:00: outside the hours")
    assert "leaving" in night.swarm("stop", "--data-dir", str(night.run.folder / "one"))
    assert night.peer.finish(20) == 0, night.peer.stderr
    assert night.peer.every("end")[-1]["counted"] >= night.counted > 0
    assert night.peer.stderr == ""
    with night.run.client() as client:
        counted = [entry.range for entry in client.ledger() if entry.state == "counted"]
    positions = [p for part in counted for p in range(part.start, part.stop)]
    assert len(positions) == len(set(positions)) >= night.counted


def coordinator_is_away_for_a_while(night: Night) -> None:
    """Three in the morning: it is restarted."""
    coordinator: Program = night.run.programs[0]
    coordinator.interrupt()
    assert coordinator.finish(20) == 0
    night.run.launch()
    night.trains()
    night.trains()


@pytest.mark.long
def test_a_pause_ends_while_the_coordinator_is_away(night: Night) -> None:
    night.see("23:00")
    night.trains()
    night.see("23:10", programs=["game"])
    night.pauses("game is running")
    coordinator: Program = night.run.programs[0]
    coordinator.interrupt()
    assert coordinator.finish(20) == 0
    night.see("23:12")
    night.pauses("paused until Fri 23:13: waiting whether it stays so")
    night.see("23:30")
    night.peer.wait_for(lambda e: e.get("event") == "note" and "until there is an answer" in e["text"], SECONDS)
    assert psutil.Process(night.peer.process.pid).children(recursive=True) == []
    night.run.launch()
    night.trains()
    night.peer.interrupt()
    assert night.peer.finish(20) == 0, night.peer.stderr


def test_a_hand_on_a_running_peer(night: Night) -> None:
    folder = ["--data-dir", str(night.run.folder / "one")]
    night.see("23:00")
    night.trains()
    assert "you said so" in night.swarm("pause", *folder)
    night.pauses("you said so")
    assert "training, until 07:30" in night.swarm("resume", *folder)
    night.trains()
    night.swarm("config", "set", "when.hours", "01:00-02:00")
    night.pauses("outside the hours 01:00-02:00")
    night.peer.interrupt()
    assert night.peer.finish(20) == 0, night.peer.stderr
