"""The volunteer's hand, the rules and the month's traffic together; commands; crashes; the throttle."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.commands import handler
from peer.crashes import Crashes, pause_after
from peer.door import Door
from peer.neighbour import Pause, Run
from peer.sensors import Script, ThisMachine
from peer.throttle import duty_for
from peer.traffic import Traffic
from swarm import control
from swarm.errors import NotFoundError, UsageError, WorkerCrashError
from swarm.neighbour import When

NOON = "2026-11-27T12:00:00+00:00"


class Home:
    """A volunteer's folder with a scripted clock and sensors."""

    def __init__(self, folder: Path) -> None:
        self.config, self.script = folder / "config.toml", folder / "sensors.json"
        self.see()
        self.clock = 0.0
        self.door = Door(self.config, Script(self.script), Traffic(folder / "traffic.sqlite"), lambda: self.clock)

    def see(self, now: str = NOON, **seen: object) -> None:
        self.script.write_text(json.dumps({"now": now, **seen}))

    def decision(self) -> str:
        self.clock += 3
        return str(self.door.decision())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_changed_setting_counts_within_seconds(home: Home) -> None:
    assert isinstance(home.door.decision(), Run)
    home.config.write_text('[when]\nprograms = ["game"]\nsettle_minutes = 0\n')
    home.see(programs=["game"])
    assert isinstance(home.door.decision(), Run), "looked at every two seconds"
    assert home.decision() == "paused: game is running"
    home.config.write_text("[when\n")
    assert home.decision() == "paused: game is running", "a damaged file changes nothing"
    home.see()
    assert isinstance(home.door.decision(), Pause)
    home.clock += 3
    assert isinstance(home.door.decision(), Run)


def test_a_hand_on_the_door(home: Home) -> None:
    home.door.pause(3600)
    assert str(home.door.decision()) == "paused until Fri 13:00: you said so"
    home.see("2026-11-27T13:00:00+00:00")
    home.clock += 3
    assert isinstance(home.door.decision(), Run)
    home.door.pause()
    assert str(home.door.decision()) == "paused: you said so"
    home.door.resume()
    assert isinstance(home.door.decision(), Run)


def test_a_hand_does_not_wait_until_it_stays_quiet(home: Home) -> None:
    home.config.write_text("[when]\nsettle_minutes = 10\n")
    home.see(on_battery=True)
    assert home.decision() == "paused: the machine runs on battery"
    home.see("2026-11-27T12:01:00+00:00")
    assert home.decision().startswith("paused until Fri 12:10: waiting whether it stays so; a moment ago the machine")
    home.door.resume()
    assert isinstance(home.door.decision(), Run)


def test_a_rule_that_has_no_effect_is_said_once(home: Home) -> None:
    home.config.write_text("[when]\nidle_minutes = 5\n")
    home.decision()
    assert home.door.news() == ["This machine does not tell how long you did nothing: when.idle_minutes has no effect."]
    home.decision()
    assert home.door.news() == []


def test_traffic_is_kept_by_month(home: Home, tmp_path: Path) -> None:
    home.config.write_text("[when]\nmonthly_gigabytes = 0.001\n")
    home.door.passed(600_000)
    home.door.passed(600_000)
    assert "this month's 0.001 GB are used up" in home.decision()
    assert Traffic(tmp_path / "traffic.sqlite").month(datetime(2026, 11, 30, tzinfo=UTC)) == 1_200_000
    home.see("2026-12-01T00:00:00+00:00")
    home.clock += 3
    assert isinstance(home.door.decision(), Run)


def test_a_damaged_count_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "traffic.sqlite").write_text("no database" * 100)
    traffic = Traffic(tmp_path / "traffic.sqlite")
    assert traffic.month(datetime(2026, 11, 1, tzinfo=UTC)) == 0
    traffic.add(5, datetime(2026, 11, 1, tzinfo=UTC))
    traffic.add(4, datetime(2026, 11, 2, tzinfo=UTC))
    assert traffic.month(datetime(2026, 11, 2, tzinfo=UTC)) == 9
    assert traffic.today(datetime(2026, 11, 2, tzinfo=UTC)) == 4


@pytest.mark.parametrize("before", ["", "no database" * 100], ids=["not there yet", "damaged"])
def test_runs_of_one_machine_do_not_lose_each_others_bytes(before: str, tmp_path: Path) -> None:
    """Also when all of them begin at once, again and again."""
    day = datetime(2026, 11, 1, tzinfo=UTC)
    for number in range(10):
        path = tmp_path / f"{number}.sqlite"
        if before:
            path.write_text(before)
        runs, start = [Traffic(path) for _ in range(4)], threading.Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda run, go=start: [go.wait(5), *(run.add(1, day) for _ in range(5))], runs))
        assert runs[0].today(day) == 20


def test_traffic_that_cannot_be_kept_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    traffic = Traffic(tmp_path / "file" / "traffic.sqlite")
    traffic.add(5, datetime(2026, 11, 1, tzinfo=UTC))
    assert traffic.today(datetime(2026, 11, 1, tzinfo=UTC)) == 0


def test_the_real_sensors_see_this_machine() -> None:
    assert ThisMachine().look(When(games=False)).programs is None, "only what is asked for"
    seen = ThisMachine().look(When(idle_minutes=5))
    assert psutil.Process().name().lower() in (seen.programs or ())
    assert seen.idle_seconds is None or seen.idle_seconds >= 0
    assert ThisMachine().now().tzinfo is not None


# ── commands over a real socket ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("depth", [0, 8], ids=["short", "a path too long for a socket"])
def test_a_running_peer_does_as_it_is_told(home: Home, tmp_path: Path, depth: int) -> None:
    folder = tmp_path.joinpath(*["a-folder-with-a-long-name"] * depth)
    folder.mkdir(parents=True, exist_ok=True)
    stopping = threading.Event()
    with pytest.raises(NotFoundError):
        control.ask(folder, {"do": "tell"})
    with control.answering(folder, handler(home.door, stopping)):
        assert (folder / "control").stat().st_mode & 0o777 == 0o600
        assert control.ask(folder, {"do": "tell"}) == {"says": "training"}
        assert control.ask(folder, {"do": "pause", "seconds": 60}) == {"says": "paused until Fri 12:01: you said so"}
        assert control.ask(folder, {"do": "resume"}) == {"says": "training"}
        with pytest.raises(UsageError, match="does not know 'dance'"):
            control.ask(folder, {"do": "dance"})
        with pytest.raises(UsageError, match="cannot be understood"):
            control.ask(folder, {})
        assert control.ask(folder, {"do": "stop"}) == {"says": "leaving"}
        assert stopping.is_set()
    assert not (folder / "control").exists()


def test_what_a_killed_peer_left_is_replaced(home: Home, tmp_path: Path) -> None:
    (tmp_path / "control").write_text("left over")
    with control.answering(tmp_path, handler(home.door, threading.Event())):
        assert control.ask(tmp_path, {"do": "tell"}) == {"says": "training"}


# ── crashes and the throttle ────────────────────────────────────────────────────────────────────


def test_pauses_grow_and_end() -> None:
    assert [pause_after([0.0] * count, 1.0) for count in range(1, 6)] == [1, 2, 4, 8, None]
    assert pause_after([0.0, 0.0, 0.0, 0.0, 700.0], 700.0) == 1


def test_reports_are_kept_a_few_of_them(tmp_path: Path) -> None:
    (tmp_path / "worker.out").write_text("x" * 20_000 + "the last word")
    crashes = Crashes(tmp_path)
    for number in range(9):
        crashes.note(f"crash {number}", 1000.0 * number, rounds=0)
    kept = sorted((tmp_path / "crashes").iterdir())
    assert len(kept) == 5
    text = kept[-1].read_text()
    for words in ("crash 8", "garage-swarm", "torch 2", "the last word"):
        assert words in text
    assert len(text) < 20_000
    for number in range(4):
        crashes.note("again", 100_000.0 + number, rounds=0)
    with pytest.raises(WorkerCrashError, match="crashed 5 times") as caught:
        crashes.note("again", 100_005.0, rounds=0)
    assert "crashes" in caught.value.remedy


def test_crashes_with_rounds_between_them_do_not_end_the_join(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path)
    assert [crashes.note("out of memory", 10.0 * number, rounds=number) for number in range(1, 12)] == [1.0] * 11
    assert [crashes.note("again", 200.0 + number, rounds=11) for number in range(3)] == [2, 4, 8]


def test_a_clock_that_is_set_back_changes_nothing_but_a_reports_name(tmp_path: Path) -> None:
    """Crashes would lie in the future, and count for ever."""
    Crashes(tmp_path).note("again", 5.0, rounds=0)
    [report] = (tmp_path / "crashes").iterdir()
    assert report.name.startswith(f"{datetime.now(UTC):%Y-%m-%d}")


@given(st.floats(0.1, 1), st.floats(50, 500), st.floats(1, 500), st.floats(0.05, 1))
def test_the_duty_is_never_above_what_is_wanted(wanted: float, cap: float, watts: float, duty: float) -> None:
    found = duty_for(wanted, cap, watts, duty)
    assert 0.05 <= found <= max(wanted, 0.05)
    assert watts <= cap or found <= max(duty, 0.05)
    assert duty_for(wanted, 0, watts, duty) == wanted
