"""Where the project keeps its files on this machine. Nothing here creates a folder."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path


def home() -> Path:
    """The folder of everything: $SWARM_HOME, or `garage-swarm` in the user's data folder."""
    chosen = os.environ.get("SWARM_HOME")
    return Path(chosen).expanduser() if chosen else user_data_path("garage-swarm", appauthor=False)


def runs() -> Path:
    """The folder that holds the run folders of the coordinators on this machine."""
    return home() / "runs"


def run_dir(name: str) -> Path:
    """A coordinator's data directory of the run `name`."""
    return runs() / name


def cache() -> Path:
    """What all runs of this machine share: the files of base models, each named by its SHA-256, in `blobs`."""
    return home() / "cache"


def peer_dir(run: str) -> Path:
    """A peer's data directory for the run `run`: its invite, fetched files, state."""
    return peers() / run


def pushes() -> Path:
    """Where each upload to a registry that was not finished goes on, a note for each."""
    return home() / "pushes"


def config() -> Path:
    """What the volunteer allows this machine to do; see `swarm.neighbour`."""
    return home() / "config.toml"


def peers() -> Path:
    """The folder that holds the peers' folders, one for each run."""
    return home() / "peers"
