"""When a machine trains: settings, and the decision, over a scripted clock."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.neighbour import Decision, Observed, Pause, Run, decide, unseen
from swarm.errors import UsageError
from swarm.neighbour import Neighbour, When, Window, changed, load, save

FRIDAY = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
QUIET = Observed(idle_seconds=3600.0, on_battery=False, celsius=60.0)


def at(text: str) -> datetime:
    hour, minute = map(int, text.split(":"))
    return FRIDAY.replace(hour=hour, minute=minute)


def when(**values: Any) -> Neighbour:
    return Neighbour(when=When(**values))


@pytest.mark.parametrize(
    ("now", "begin", "end"),
    [
        ("21:59", "22:00", "07:30"),
        ("22:00", "22:00", "07:30"),
        ("23:30", "22:00", "07:30"),
        ("03:00", "22:00", "07:30"),
        ("07:30", "22:00", "07:30"),
    ],
)
def test_a_window_over_midnight(now: str, begin: str, end: str) -> None:
    found = Window.parse("22:00-07:30").around(at(now))
    assert (f"{found[0]:%H:%M}", f"{found[1]:%H:%M}") == (begin, end)
    assert found[1] > at(now)
    assert (found[0] <= at(now)) == (now not in ("21:59", "07:30"))


def test_a_window_on_some_days_belongs_to_the_day_on_which_it_begins() -> None:
    friday_night = Window.parse("Fri 22:00-02:00")
    begin, end = friday_night.around(at("23:00") + timedelta(hours=2))  # Saturday, one o'clock
    assert (begin.weekday(), end.weekday()) == (4, 5)
    assert friday_night.around(at("12:00") + timedelta(days=1))[0].date() == (FRIDAY + timedelta(days=7)).date()


def test_the_night_when_clocks_change_ends_at_the_hour_on_the_wall() -> None:
    """In Berlin 2026-10-25 has 25 hours."""
    now = datetime(2026, 10, 24, 23, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    _, end = Window.parse("22:00-07:30").around(now)
    assert (end.day, end.hour, end.minute) == (25, 7, 30)


@given(st.integers(0, 1439), st.integers(0, 1440), st.integers(0, 7 * 1440))
def test_now_is_in_a_window_exactly_when_it_is_not_before_its_begin(begin: int, end: int, offset: int) -> None:
    window = Window(days=tuple(range(7)), begin=begin, end=end)
    now = FRIDAY + timedelta(minutes=offset)
    opens, closes = window.around(now)
    minute = now.hour * 60 + now.minute
    inside = begin <= minute < end if begin < end else (minute >= begin or minute < end)
    assert now < closes
    assert (opens <= now) == inside


@pytest.mark.parametrize("text", ["22-7", "25:00-07:00", "22:00-24:30", "Fry 22:00-07:00", "22:00 - 07:00", ""])
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(ValueError, match="right would be"):
        Window.parse(text)


@pytest.mark.parametrize(
    ("settings", "seen", "words"),
    [
        (when(hours=("22:00-07:30",)), QUIET, "outside the hours 22:00-07:30"),
        (when(programs=("Steam",)), replace(QUIET, programs=frozenset({"steam", "bash"})), "steam is running"),
        (when(), replace(QUIET, programs=frozenset({"reaper", "steam"})), "a game is running (reaper)"),
        (when(), replace(QUIET, on_battery=True), "on battery"),
        (when(), replace(QUIET, others="blender"), "blender uses the GPU"),
        (when(idle_minutes=10), replace(QUIET, idle_seconds=30.0), "you are using the machine"),
        (when(max_celsius=80), replace(QUIET, celsius=81.0), "the GPU has 81 °C, the limit is 80 °C"),
        (when(monthly_gigabytes=5), replace(QUIET, month_bytes=5 * 10**9), "this month's 5 GB are used up"),
    ],
)
def test_every_reason_is_said(settings: Neighbour, seen: Observed, words: str) -> None:
    decision = decide(settings, seen, FRIDAY, Run())
    assert isinstance(decision, Pause)
    assert words in decision.why
    assert str(decision).startswith("paused")
    assert isinstance(decide(settings, QUIET, at("23:00"), Run()), Run) or "month" in words


def test_what_cannot_be_seen_is_no_reason() -> None:
    settings = when(idle_minutes=10, max_celsius=50)
    assert decide(settings, Observed(), FRIDAY, Run()) == Run()
    [said] = unseen(settings, Observed())
    assert "when.idle_minutes has no effect" in said
    assert unseen(settings, QUIET) == []


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60), st.sampled_from([0, 1, 3, 10]))
def test_it_does_not_flap(steps: list[tuple[int, bool]], settle: int) -> None:
    """However often a reason comes and goes: training begins again only after a time without it."""
    settings, now = when(settle_minutes=settle), FRIDAY
    decision: Decision = Run()
    last_seen = FRIDAY - timedelta(days=1)
    for tens, busy in steps:
        now += timedelta(seconds=10 * tens)
        decision = decide(settings, replace(QUIET, others="blender" if busy else ""), now, decision)
        last_seen = now if busy else last_seen
        assert isinstance(decision, Run) == (not busy and now - last_seen >= timedelta(minutes=settle))
        assert isinstance(decision, Run) or "blender uses the GPU" in decision.why
        assert isinstance(decision, Run) or (decision.until is None) == busy


def test_a_clock_that_was_set_back_holds_nobody_up() -> None:
    paused = decide(when(), replace(QUIET, on_battery=True), FRIDAY, Run())
    assert isinstance(decide(when(), QUIET, FRIDAY - timedelta(days=1), paused), Run)


@pytest.mark.parametrize("settings", [when(games=False), when(programs=("steam",), games=False)])
def test_a_game_may_be_allowed(settings: Neighbour) -> None:
    assert isinstance(decide(settings, replace(QUIET, programs=frozenset({"reaper"})), FRIDAY, Run()), Run)


def test_it_cools_down_before_it_goes_on() -> None:
    settings, temperatures = when(max_celsius=80, settle_minutes=0), [79, 81, 79, 75, 73, 71, 79]
    decision, paused = decide(settings, QUIET, FRIDAY, Run()), []
    for celsius in temperatures:
        decision = decide(settings, replace(QUIET, celsius=float(celsius)), FRIDAY, decision)
        paused.append(isinstance(decision, Pause))
    assert paused == [False, True, True, True, True, False, False]


def test_a_pause_says_until_when() -> None:
    hours = when(hours=("22:00-07:30", "Sat,Sun 00:00-24:00"))
    noon = decide(hours, QUIET, FRIDAY, Run())
    assert isinstance(noon, Pause)
    assert str(noon).startswith("paused until Fri 22:00")
    assert decide(hours, QUIET, at("23:00"), noon) == Run(FRIDAY.replace(hour=7, minute=30) + timedelta(days=1))
    month = decide(when(monthly_gigabytes=1), replace(QUIET, month_bytes=10**10), FRIDAY, Run())
    assert isinstance(month, Pause)
    assert month.until
    assert (month.until.month, month.until.day) == (12, 1)


@given(
    st.builds(
        Observed,
        idle_seconds=st.none() | st.floats(0, 1e5),
        on_battery=st.none() | st.booleans(),
        others=st.sampled_from(["", "blender"]),
        celsius=st.none() | st.floats(20, 100),
        month_bytes=st.integers(0, 10**11),
    ),
    st.integers(0, 100_000),
)
def test_a_pause_has_a_reason_and_ends_later_if_it_ends(seen: Observed, minutes: int) -> None:
    now = FRIDAY + timedelta(minutes=minutes)
    settings = when(hours=("22:00-07:30",), idle_minutes=5, monthly_gigabytes=50)
    decision = decide(settings, seen, now, Run())
    assert decide(settings, seen, now, decision) == decision or (isinstance(decision, Pause) and decision.hot)
    if isinstance(decision, Pause):
        assert decision.why
        assert decision.until is None or decision.until > now
    else:
        assert now.hour >= 22 or (now.hour, now.minute) < (7, 30)


# ── the file ────────────────────────────────────────────────────────────────────────────────────


def test_settings_come_back_as_they_were_kept(tmp_path: Path) -> None:
    settings = when(hours=("22:00-07:30",), programs=("steam", "vlc"), on_battery=True, idle_minutes=2.5)
    save(settings, tmp_path / "deep" / "config.toml")
    assert load(tmp_path / "deep" / "config.toml") == settings
    assert load(tmp_path / "none.toml") == Neighbour()


@pytest.mark.parametrize(
    ("key", "text", "wanted"),
    [
        ("when.hours", "22:00-07:30; Sat,Sun 00:00-24:00", ("22:00-07:30", "Sat,Sun 00:00-24:00")),
        ("when.hours", '["22:00-07:30"]', ("22:00-07:30",)),
        ("when.programs", "steam;vlc", ("steam", "vlc")),
        ("when.on_battery", "true", True),
        ("limits.watts", "220", 220.0),
    ],
)
def test_a_setting_is_changed_by_a_word(key: str, text: str, wanted: object) -> None:
    section, name = key.split(".")
    assert getattr(getattr(changed(Neighbour(), key, text), section), name) == wanted


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("when.hour", "22:00-07:30", "There is no setting 'when.hour'"),
        ("hours", "1", "There is no setting 'hours'"),
        ("when.hours", "nights", "when.hours"),
        ("limits.duty_percent", "0", "limits.duty_percent"),
        ("when.idle_minutes", "soon", "when.idle_minutes"),
    ],
)
def test_a_wrong_setting_is_named(key: str, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        changed(Neighbour(), key, text)
    assert caught.value.remedy


@pytest.mark.parametrize("section", ["when", "limits"])
def test_every_setting_is_in_the_docs_with_its_default(section: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    defaults = getattr(Neighbour(), section)
    for key in type(defaults).model_fields:
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{section}.{key}` |")]
        default = tomllib.loads(f"x = {row.split('|')[2].strip().strip('`')}")["x"]
        assert default == (list(found) if isinstance(found := getattr(defaults, key), tuple) else found)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for text in ("[when\n", "[when]\nhour = " + "3" * 5000):  # of so many digits Python makes no number
        path.write_text(text)
        with pytest.raises(UsageError, match="is not TOML"):
            load(path)
    path.write_text("[when]\nhour = 3\n")
    with pytest.raises(UsageError, match=r"when\.hour"):
        load(path)
