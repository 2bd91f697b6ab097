"""The vocabulary of torn files: a kind, how the product writes and reads it, and what must happen to a torn one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from swarm import log

BLOCK = 4096  # bytes that a disk writes at once
_EVERY_BYTE = 200  # of files that are not longer than this every byte is a boundary

logger = log.get("torn")


class Must(Enum):
    """What must happen to a torn file; one of which nothing is missing that counts may always be read as it was."""

    REFUSED = "the reader raises a SwarmError that names the file"
    REPAIRED = "the reader gives what was written: fetched, computed or checked again"
    ANEW = "the reader begins anew, and says so in the log by the file's name"


class Durable(Enum):
    """How it is written."""

    ATOMIC = "temporary file, fsync, rename, fsync of the folder"
    SQLITE = "by SQLite's own journal, synced"
    LOOSE = "not synced: it may be lost, which costs nothing that was confirmed"


@dataclass(frozen=True)
class Kind:
    """`write` fills a folder, `read` gives what the product makes of it, which is `new` when it begins anew. `fresh`
    files name their own folder, so that each one is written, not copied.
    """

    name: str
    file: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]
    must: Must
    durable: Durable = Durable.ATOMIC
    new: object = None
    fresh: bool = False
    named: str = ""  # in errors and in the log; by default the file

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def torn(content: bytes) -> Iterator[tuple[str, bytes]]:
    """What may be left of a file: cut at every boundary, and besides with the block before the cut never written."""
    for end in _boundaries(content):
        yield f"cut at {end}", content[:end]
        if end:
            yield f"cut at {end}, a hole before", content[: max(0, end - BLOCK)] + bytes(min(end, BLOCK))


def _boundaries(content: bytes) -> list[int]:
    """In a short file also the ends of lines, where what is left looks most like a whole one."""
    size = len(content)
    if size <= _EVERY_BYTE:
        return list(range(size))
    if size > BLOCK:
        return [*range(0, size, BLOCK), size - 1]
    lines = [end for end in range(1, size) if content[end - 1 : end] == b"\n"]
    return sorted({0, 1, size // 2, size - 1, *lines})


def said(text: str) -> None:
    """What the volunteer is told."""
    if text:
        logger.warning("%s", text)
