"""Where a run's tables are: in its own folder, or in a PostgreSQL that the maintainer names at each launch.

A note in the folder says in which database they are, without its password, so that a launch that leaves it out does not
begin the run anew beside it.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from coordinator import copies
from swarm import extras, notes
from swarm.errors import CorruptError, UsageError

NOTE = "store"
_DRIVER = "postgresql+psycopg"
_AS = "Say --store postgresql://USER@HOST/DATABASE, or the same in $SWARM_STORE, which other users here cannot see."


def require(folder: Path, given: str) -> str:
    """The URL to open; empty for the file in the folder. Raises UsageError when the run's tables are elsewhere or there
    is no such store, CorruptError for a torn note, OSError.
    """
    url = _parsed(given) if given else None
    name = url._replace(password=None).render_as_string() if url else ""
    kept = notes.kept(folder / NOTE)
    if not kept and (folder / NOTE).exists():
        raise CorruptError(f"{folder / NOTE} is torn: it does not say where the run's tables are.", f"Delete it. {_AS}")
    if kept != name and (kept or (folder / copies.FILE).exists()):
        raise UsageError(
            f"The tables of this run are in {kept or copies.FILE}, not in {name or copies.FILE}.",
            _AS if kept else "Leave --store out; a run's tables stay where they were when it began.",
        )
    if name and not kept:
        notes.keep(folder / NOTE, name)
    return url.render_as_string(hide_password=False) if url else ""


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise UsageError("The store's URL cannot be read.", _AS) from error
    if url.get_backend_name() != "postgresql":
        raise UsageError(f"There is no store of the kind {url.drivername!r}.", _AS)
    extras.require("postgresql", "A store in PostgreSQL", "psycopg")
    return url.set(drivername=_DRIVER)
