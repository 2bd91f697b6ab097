"""Which history of a run a folder holds. One that was restored from a copy has forgotten the end, and members that knew
the history before remember it: they see that it is another one.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from swarm import notes

FILE = "history"
_OPEN = " open"


@dataclass(frozen=True)
class History:
    """Its name, and whether members may still have to say what it does not know."""

    id: str
    open: bool = False


def of(folder: Path, begun: bool) -> History:
    """The history of the run in `folder`: backups leave the note out, so one that has `begun` without a note was
    restored, and a new history begins. Raises OSError.
    """
    path = folder / FILE
    if kept := _parse(notes.kept(path)):
        return kept
    history = History(secrets.token_hex(8), begun)
    notes.keep(path, f"{history.id}{_OPEN if begun else ''}")
    return history


def close(folder: Path, history: History) -> None:
    """Members had their time to speak. Raises OSError."""
    notes.keep(folder / FILE, history.id)


def _parse(line: str) -> History | None:
    id_ = line.removesuffix(_OPEN)
    return History(id_, id_ != line) if id_ else None
