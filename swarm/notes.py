"""Notes of a process to the next one in its folder, a line each: whole, or as good as not there."""

from __future__ import annotations

from pathlib import Path

from swarm import log
from swarm.tensorfile import atomic_write

logger = log.get(__name__)


def keep(path: Path, line: str) -> None:
    """Write the note. Raises OSError."""
    with atomic_write(path) as file:
        file.write(f"{line}\n".encode())


def kept(path: Path) -> str:
    """The note; empty when there is none, or when it is torn, which the log says. Raises OSError."""
    try:
        text = path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return ""
    line = text.removesuffix("\n")
    if line != text and line.isprintable():
        return line
    logger.warning("%s is torn or was altered; it is not used", path)
    return ""
