"""What was looked at, and how it is, with what to do: `swarm doctor` and `swarm fsck` say it so. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from swarm.errors import SwarmError, from_os_error

_SHOWN = 5  # findings of one name; what is damaged once is often damaged a thousand times
_T = TypeVar("_T")


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. A finding is one that is not ok."""

    name: str
    level: Level
    says: str
    remedy: str = ""


def failed(checks: Iterable[Check]) -> list[Check]:
    """Those that ended badly."""
    return [check for check in checks if check.level is Level.FAILED]


def verdicts(holds: Mapping[str, str], findings: Iterable[Check]) -> list[Check]:
    """The findings by name, the bad ones first; for each name of `holds` without one, its sentence as ok."""
    by_name: dict[str, list[Check]] = {name: [] for name in holds}
    for finding in findings:
        by_name.setdefault(finding.name, []).append(finding)
    return [
        check
        for name, found in by_name.items()
        for check in (_first(found) if found else [Check(name, Level.OK, holds[name])])
    ]


def attempt(name: str, holds: str, make: Callable[[], _T]) -> tuple[_T | None, Check]:
    """What `make` gives, and that it did: ok with the sentence `holds`, or failed with its error's words."""
    try:
        return make(), Check(name, Level.OK, holds)
    except SwarmError as error:
        trouble = error
    except OSError as error:
        trouble = from_os_error(error, f"looking at the {name}")
    return None, Check(name, Level.FAILED, trouble.what, trouble.remedy)


def _first(found: list[Check]) -> list[Check]:
    ordered = sorted(found, key=lambda check: check.level is not Level.FAILED)
    if len(ordered) <= _SHOWN:
        return ordered
    last = ordered[_SHOWN - 1]
    return [*ordered[: _SHOWN - 1], replace(last, says=f"{last.says}; and {len(ordered) - _SHOWN} more like it")]
