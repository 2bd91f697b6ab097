"""What a volunteer allows this machine to do, and when: the file `config.toml`, on this machine only.

Weekdays are Mon … Sun; "22:00-07:30" is every night, "Sat,Sun 00:00-24:00" the weekend, both by the local clock.
"""

from __future__ import annotations

import re
import tomllib
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from swarm import tomltext
from swarm.endmark import cut_off, marked
from swarm.errors import UsageError, from_os_error
from swarm.tensorfile import atomic_write

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WINDOW = re.compile(r"(?:((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:,(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun))*) )?"
                     r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")  # fmt: skip
_HINT = 'right would be "22:00-07:30", or "Sat,Sun 00:00-24:00"'


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class When(_Section):
    """When this machine trains; a reason to pause that cannot be seen on this machine counts as none."""

    hours: tuple[str, ...] = Field(default=(), description="windows in which it trains; none is always")
    idle_minutes: float = Field(default=0, ge=0, description="only after the user did nothing for so long; 0 = always")
    programs: tuple[str, ...] = Field(default=(), description="not while one of these runs: names of processes")
    games: bool = Field(default=True, description="not while a game runs: Steam's, Wine's, Lutris', gamescope's")
    on_battery: bool = Field(default=False, description="whether it trains on battery")
    beside_others: bool = Field(default=False, description="whether it trains while others use the GPU")
    max_celsius: float = Field(default=87, gt=0, description="not above this temperature of the GPU")
    monthly_gigabytes: float = Field(default=0, ge=0, description="not after so much traffic in a month; 0 = no limit")
    settle_minutes: float = Field(default=3, ge=0, description="a reason must be gone for so long: no to and fro")

    @field_validator("hours")
    @classmethod
    def _windows(cls, hours: tuple[str, ...]) -> tuple[str, ...]:
        for text in hours:
            Window.parse(text)
        return hours


class Limits(_Section):
    """How much of this machine it may take."""

    duty_percent: float = Field(default=100, gt=0, le=100, description="part of the time that it computes: less heat")
    watts: float = Field(default=0, ge=0, description="of the GPU: above it computes less of the time; 0 = no limit")
    gpu_memory_percent: float = Field(default=100, gt=0, le=100, description="of the GPU's memory")
    cpu_threads: int = Field(default=0, ge=0, description="of each worker, from its next start; 0 = as swarm join says")
    upload_megabits: float = Field(
        default=0, ge=0, description="a second, to others, as much for checkpoints; 0 = no limit"
    )
    disk_gigabytes: float = Field(default=0, ge=0, description="for a run's files; 0 = no limit")


class Neighbour(_Section):
    """All settings. The defaults disturb nobody who does not use the GPU."""

    when: When = When()
    limits: Limits = Limits()


class Window(_Section):
    """A part of the days of a week: from `begin` to `end` minutes after midnight; past midnight when end <= begin."""

    days: tuple[int, ...]  # 0 is Monday; on which it begins
    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """Raises ValueError with what would be right."""
        found = _WINDOW.fullmatch(text)
        if not found or (found[4] == "24" and found[5] != "00"):
            raise ValueError(f"{text!r} is no window: {_HINT}")
        days = tuple(_DAYS.index(day) for day in found[1].split(",")) if found[1] else tuple(range(7))
        return cls(days=days, begin=60 * int(found[2]) + int(found[3]), end=60 * int(found[4]) + int(found[5]))

    def around(self, now: datetime) -> tuple[datetime, datetime]:
        """The window that holds `now`, or the next one: begin and end, as the wall clock shows them."""
        for days in range(-1, 8):
            day = datetime.combine(now.date() + timedelta(days=days), time(), now.tzinfo)
            begin, end = day + timedelta(minutes=self.begin), day + timedelta(minutes=self.end)
            end += timedelta(days=1) if self.end <= self.begin else timedelta()
            if day.weekday() in self.days and now < end:
                return begin, end
        raise AssertionError("every window comes again within a week")


def load(path: Path) -> Neighbour:
    """The settings in `path`; the defaults when there is no such file. Raises UsageError that names the key, and for a
    file that was cut off, or holds no setting: it would count as the defaults.
    """
    try:
        text = path.read_text()
        values = tomllib.loads(text)
        if not values or cut_off(text):
            raise UsageError(f"{path} was cut off, or is empty.", "Correct it, or delete it for the defaults.")
        return _checked(values, path)
    except FileNotFoundError:
        return Neighbour()
    except ValueError as error:  # TOML, UTF-8, and numbers of thousands of digits
        raise UsageError(f"{path} is not TOML: {error}.", "Correct it, or delete it for the defaults.") from error


def changed(old: Neighbour, key: str, text: str) -> Neighbour:
    """`old` with `key` ("when.hours") set to `text`: a TOML value, or a word. Raises UsageError."""
    section, _, name = key.partition(".")
    values = old.model_dump()
    if name not in values.get(section, {}):
        known = ", ".join(f"{part}.{one}" for part, inner in values.items() for one in inner)
        raise UsageError(f"There is no setting {key!r}.", f"Settings are {known}.")
    values[section][name] = _value(text, values[section][name])
    return _checked(values, Path(key))


def save(settings: Neighbour, path: Path) -> None:
    """Write all settings with their meanings. Raises DiskError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(marked(to_toml(settings)).encode())
    except OSError as error:
        raise from_os_error(error, "keeping the settings") from error


def to_toml(settings: Neighbour) -> str:
    """As a file that explains itself."""
    parts = []
    for name, section in (("when", settings.when), ("limits", settings.limits)):
        lines = [f"[{name}]"]
        for key, field in type(section).model_fields.items():
            lines.append(f"{f'{key} = {_toml(getattr(section, key))}':<34}# {field.description}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return tomltext.value(list(value))
    return f"{value:g}"


def _value(text: str, old: object) -> Any:
    """`text` as a TOML value; where a list is meant, words with semicolons between them will do."""
    try:
        found = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        found = text
    if isinstance(old, tuple) and isinstance(found, str):
        return tuple(part.strip() for part in found.split(";") if part.strip())
    return found


def _checked(values: dict[str, Any], where: Path) -> Neighbour:
    try:
        return Neighbour.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(f"{where}: {key}: {first['msg']}.", "`swarm config show` explains every setting.") from error
