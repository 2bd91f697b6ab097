"""What a join is made of: what the volunteer chose, and a seat for every worker. Without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peer.door import Door
from swarm.invite import Invite
from swarm.metrics import Address

PeerEvent = dict[str, Any]


@dataclass(frozen=True)
class JoinOptions:
    """One join: the invite and what is local to this machine. `devices` has one entry for each worker."""

    invite: Invite
    data_dir: Path
    name: str
    credit: str  # the name in the model card; empty for no mention
    devices: tuple[str, ...]
    threads: int
    compiled: bool
    screen: Callable[[PeerEvent], None]
    door: Door
    base: Path | None = None  # a folder with a copy of the run's base model
    from_hub: bool = False
    metrics: Address | None = None


@dataclass(frozen=True)
class Seat:
    """One worker's place: with several GPUs each has its own, and is a member of its own."""

    number: int
    device: str
    folder: Path


def seats_of(options: JoinOptions) -> list[Seat]:
    """The first seat has the peer's own folder, so that a second GPU changes nothing for the first."""
    folders = [options.data_dir, *(options.data_dir / f"seat-{n}" for n in range(1, len(options.devices)))]
    return [Seat(n, *pair) for n, pair in enumerate(zip(options.devices, folders, strict=True))]
