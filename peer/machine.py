"""What this machine is, found out without torch and within a moment."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from peer import nvidia
from peer.nvidia import Card


@dataclass(frozen=True)
class Machine:
    """Bytes. `torch` is its version with the build ("2.13.0+cpu"), empty when it is missing."""

    cores: int
    ram_free: int
    disk_free: int
    torch: str
    driver: str = ""  # of NVIDIA's cards
    cards: tuple[Card, ...] = ()
    trouble: str = ""  # why there are no cards although a driver is there
    locked: str = ""  # the folder for the peer's files, or the one it would lie in, when nobody may write there

    @property
    def watts(self) -> float:
        """What all cards together may draw; 0 is unknown."""
        return sum(card.watts for card in self.cards)


def look(folder: Path) -> Machine:
    """`folder` is where the peer's files will lie; it need not exist yet."""
    driver, cards, trouble = _nvidia()
    there = _existing(folder)
    return Machine(
        cores=psutil.cpu_count(logical=False) or 1,
        ram_free=psutil.virtual_memory().available,
        disk_free=shutil.disk_usage(there).free,
        torch=_torch(),
        driver=driver,
        cards=cards,
        trouble=trouble,
        locked="" if os.access(there, os.W_OK) else str(there),
    )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _torch() -> str:
    with suppress(PackageNotFoundError):
        return version("torch")
    return ""


def _nvidia() -> tuple[str, tuple[Card, ...], str]:
    """Driver, cards, trouble; nothing of all three on a machine without NVIDIA's driver."""
    try:
        with nvidia.opened() as cards:
            return (nvidia.version() if cards else ""), tuple(map(nvidia.describe, cards)), ""
    except nvidia.DriverError as error:
        return "", (), str(error)
