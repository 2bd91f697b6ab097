"""Which history of a run a folder holds. One that was restored from a copy has forgotten the end, and members that knew
the history before remember it: they see that it is another one.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from swarm import notes

FILE = "history"


@dataclass(frozen=True)
class History:
    """Its name, and when it began (Unix seconds); 0 when it began with the run."""

    id: str
    restored_at: float = 0.0


def of(folder: Path, begun: bool, now: float) -> History:
    """The history of the run in `folder`: backups leave the note out, so one that has `begun` without a note was
    restored, and a new history begins. Raises OSError.
    """
    path = folder / FILE
    if kept := _parse(notes.kept(path)):
        return kept
    history = History(secrets.token_hex(8), now if begun else 0.0)
    notes.keep(path, f"{history.id} {history.restored_at}")
    return history


def _parse(line: str) -> History | None:
    id_, _, at = line.partition(" ")
    try:
        return History(id_, float(at))
    except ValueError:
        return None
