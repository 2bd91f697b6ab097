"""Where a run's curves go besides this machine: one file for each tracker, by the names of the run spec.

Libraries are loaded when a run names them, by the coordinator alone: volunteers need neither them nor an account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from swarm.errors import UsageError


@dataclass(frozen=True)
class About:
    """Whose curves they are. `id` stays the same when the coordinator is started again; `settings` are the run spec's,
    by section.key; in `folder` a tracker may keep files.
    """

    run: str
    id: str
    settings: Mapping[str, str | float]
    folder: Path


@dataclass(frozen=True)
class Point:
    """What is known of a round, by name; `at` is when it ended, in Unix seconds. A run that goes back makes rounds
    again, so numbers do not only grow.
    """

    round: int
    at: float
    numbers: Mapping[str, float]


class Tracker(Protocol):
    """One library. All methods are called in one thread, may take long, and may raise what they like."""

    def note(self, point: Point) -> None:
        """Keep it."""

    def close(self) -> None:
        """Nothing more comes."""


def require(names: Iterable[str]) -> None:
    """Raises UsageError that says how to install the first one whose library is not there."""
    for name in names:
        if find_spec(name) is None:
            raise UsageError(
                f"The run spec's tracking.trackers names {name}, which is not installed here.",
                f"Install it with `pip install 'garage-swarm[{name}]'`, or leave it out.",
            )


def begin(name: str) -> Callable[[About], Tracker]:
    """What opens the tracker called `name`, loading its library."""
    if name == "tensorboard":
        from coordinator.trackers import tensorboard

        return tensorboard.begin
    if name == "wandb":
        from coordinator.trackers import wandb

        return wandb.begin
    if name == "trackio":
        from coordinator.trackers import trackio

        return trackio.begin
    from coordinator.trackers import mlflow

    return mlflow.begin
