"""A coordinator's data directory as the command line sees it: whose it is, and whether it may go on.

The command keeps two files there: `run.toml`, the spec that the run was started with, and `invite`, the last invite.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import SpecError, from_os_error
from swarm.tensorfile import atomic_write

if TYPE_CHECKING:
    from swarm.invite import Invite
    from swarm.runspec import RunSpec

_HARMLESS = ("run.title", "run.description", "run.maintainer", "checkpoint.")


def is_prepared(folder: Path) -> bool:
    """Whether the folder holds a run whose data and model are ready."""
    return (folder / "run.toml").exists() and (folder / "artefacts.json").exists()


def check_same_run(folder: Path, spec: RunSpec) -> None:
    """Raises SpecError when the run in `folder` was started with a spec that `spec` cannot continue."""
    from swarm.runspec import differences, load

    if not (folder / "run.toml").exists():
        return
    changes = {
        key: change for key, change in differences(load(folder / "run.toml"), spec).items() if harms(key, change)
    }
    if changes:
        listed = "; ".join(f"{key} was {old!r}, now {new!r}" for key, (old, new) in changes.items())
        raise SpecError(
            f"The run {spec.run.name} in {folder} was started with another spec: {listed}.",
            "Put that back, or make it a run of its own: another run.name (or --data-dir). "
            "title, description, maintainer and checkpoint may change, training.rounds may grow.",
        )


def harms(key: str, change: tuple[Any, Any]) -> bool:
    """Whether a running run cannot go on after this change of its spec."""
    old, new = change
    return not (key.startswith(_HARMLESS) or (key == "training.rounds" and new > old))


def remember(folder: Path, spec: RunSpec, invite: Invite) -> None:
    """Keep spec and invite, so that a later launch and `swarm runs` know the run. Raises DiskError."""
    try:
        with atomic_write(folder / "run.toml") as file:
            file.write(spec.to_toml().encode())
        with atomic_write(folder / "invite") as file:
            os.fchmod(file.fileno(), 0o600)  # the invite holds the run's token
            file.write(f"{invite}\n".encode())
    except OSError as error:
        raise from_os_error(error, "keeping the run spec") from error
