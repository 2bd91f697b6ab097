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
    shards: list[dict[str, Any]]  # swarm.chunks.Manifest.facts
    base: list[dict[str, Any]]  # the same of the frozen base's files
    checkpoint: str  # path of a state file
    folder: str
    member: str  # this seat's id at the coordinator
    lineage: int  # of the run's states
    cache: str  # of the base's files
    base_folder: str  # the volunteer's copy of the base, or empty
    from_hub: bool
    initial_peers: list[str]
    live_members: int
    listen_host: str
    port: int  # 0 is any
    announced: list[str]  # multiaddrs
    relay: str  # multiaddr of the node through which others reach this peer; empty: they dial it
    device: str
    threads: int
    compiled: bool
    upload: float  # bytes per second for what others get, 0 is no cap
    duty: float  # part of the time that it computes
    gpu_memory: float  # part of the GPU's memory that it may take

    @property
    def spec(self) -> RunSpec:
        return loads(self.spec_toml)
