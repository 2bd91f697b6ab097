"""What the supervisor hands its worker at the start; without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm.runspec import RunSpec, loads


@dataclass(frozen=True)
class Setup:
    """What the supervisor hands over."""

    spec_toml: str
    model_folder: str
    layout: dict[str, Any]
    shards: list[str]  # SHA-256 of each
    checkpoint: str  # path of a state file
    folder: str
    initial_peers: list[str]
    live_members: int
    listen_host: str
    device: str
    threads: int
    compiled: bool

    @property
    def spec(self) -> RunSpec:
        return loads(self.spec_toml)
