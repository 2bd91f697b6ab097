"""Whether this machine may train now. Pure: settings, what the sensors saw and the time come in; a decision and its
reason come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from swarm.neighbour import Neighbour, When, Window

_COOLER = 8.0  # degrees below the limit until it trains on: it should not begin and end all the time
_GAMES = frozenset(  # what starts games, as their processes are called; each runs as long as its game
    {"reaper", "gamescope", "gamescope-wl", "wineserver", "wine-preloader", "wine64-preloader", "lutris-wrapper"}
)


@dataclass(frozen=True)
class Observed:
    """What the sensors saw; None is what they cannot see on this machine."""

    idle_seconds: float | None = None  # since the user's last touch
    programs: frozenset[str] | None = None  # names of processes, in small letters
    on_battery: bool | None = None
    others: str = ""  # who else uses the GPU
    celsius: float | None = None
    month_bytes: int = 0


@dataclass(frozen=True)
class Run:
    """Nothing speaks against training; `until` is when the hours end."""

    until: datetime | None = None


@dataclass(frozen=True)
class Pause:
    """Do not train; `until` when that is known. `hot` remembers that it must cool down first, `seen` when a reason
    that comes and goes was seen last. `rule` is the setting that says so; empty for the volunteer's own hand.
    """

    why: str
    until: datetime | None = None
    hot: bool = False
    seen: datetime | None = None
    rule: str = ""

    def __str__(self) -> str:
        return f"paused until {self.until:%a %H:%M}: {self.why}" if self.until else f"paused: {self.why}"


Decision = Run | Pause


def decide(settings: Neighbour, seen: Observed, now: datetime, before: Decision) -> Decision:
    """The first reason to pause, the longest-lasting first; `before` is the last decision."""
    when = settings.when
    closed, closes = _outside_hours(when, now)
    if closed:
        return closed
    for pause in _reasons(when, seen, now, before):
        return pause
    return _settling(when, now, before) or Run(closes)


def unseen(settings: Neighbour, seen: Observed) -> list[str]:
    """Of which rules this machine cannot see whether they hold, in sentences: they are no reason to pause."""
    when = settings.when
    rules = (
        (when.idle_minutes and seen.idle_seconds is None, "how long you did nothing", "when.idle_minutes"),
        (when.programs and seen.programs is None, "which programs run", "when.programs"),
    )
    return [f"This machine does not tell {what}: {key} has no effect." for applies, what, key in rules if applies]


def _settling(when: When, now: datetime, before: Decision) -> Pause | None:
    """The rest of the time for which the last reason must be gone. A clock that was set back ends it."""
    if not isinstance(before, Pause) or before.seen is None:
        return None
    end = before.seen + timedelta(minutes=when.settle_minutes)
    if not before.seen <= now < end:
        return None
    already = before.until is not None  # reasons that come and go do not know when they end
    why = before.why if already else f"waiting whether it stays so; a moment ago {before.why}"
    return Pause(why, end, before.hot, before.seen, before.rule)


def _outside_hours(when: When, now: datetime) -> tuple[Pause | None, datetime | None]:
    """The pause until the next window; else when the one that holds `now` ends."""
    if not when.hours:
        return None, None
    windows = [Window.parse(text).around(now) for text in when.hours]
    inside = [end for begin, end in windows if begin <= now]
    if inside:
        return None, max(inside)
    opens = min(begin for begin, _ in windows)
    return Pause(f"outside the hours {', '.join(when.hours)}", opens, rule="when.hours"), None


def _reasons(when: When, seen: Observed, now: datetime, before: Decision) -> Iterator[Pause]:
    if when.monthly_gigabytes and seen.month_bytes >= when.monthly_gigabytes * 1e9:
        yield Pause(
            f"this month's {when.monthly_gigabytes:g} GB are used up", _next_month(now), rule="when.monthly_gigabytes"
        )
    if seen.on_battery and not when.on_battery:
        yield Pause("the machine runs on battery", seen=now, rule="when.on_battery")
    running = sorted({name.lower() for name in when.programs} & (seen.programs or set()))
    if running:
        yield Pause(f"{running[0]} is running", seen=now, rule="when.programs")
    games = _GAMES & (seen.programs or set())
    if games and when.games:
        yield Pause(f"a game is running ({min(games)})", seen=now, rule="when.games")
    if seen.others and not when.beside_others:
        yield Pause(f"{seen.others} uses the GPU", seen=now, rule="when.beside_others")
    wanted = 60 * when.idle_minutes
    if wanted and seen.idle_seconds is not None and seen.idle_seconds < wanted:
        idle = now + timedelta(seconds=wanted - seen.idle_seconds)
        yield Pause("you are using the machine", idle, rule="when.idle_minutes")
    limit = when.max_celsius - (_COOLER if isinstance(before, Pause) and before.hot else 0.0)
    if seen.celsius is not None and seen.celsius > limit:
        why = f"the GPU has {seen.celsius:.0f} °C, the limit is {when.max_celsius:g} °C"
        yield Pause(why, hot=True, seen=now, rule="when.max_celsius")


def _next_month(now: datetime) -> datetime:
    return (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
