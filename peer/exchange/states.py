"""The states that a peer gives to others, chunk by chunk: its newest ones, and any that somebody still fetches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from peer.held import Held, Shelf
from swarm.chunks import Manifest, chunked
from swarm.proto import coordinator_pb2 as pb
from swarm.tensorfile import region

CHUNK = 1 << 20  # bytes: also a small state comes from several donors
_KEPT = 2
_ASKED_SECONDS = 60.0  # who fetches asks more often


@dataclass
class OpenState(Held):
    """A whole state file that is kept open: it can be given also when its name is another file's by now."""

    file: BinaryIO = field(kw_only=True)
    asked_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, path: Path, known: Manifest | None = None) -> OpenState:
        """Reads the file once, unless its manifest is known."""
        file = path.open("rb")
        manifest = known or _manifest(path)
        return cls(manifest, path, set(range(manifest.count)), file=file)

    def parts(self, chunk: int) -> Iterator[bytes]:
        self.asked_at = time.monotonic()
        return region(self.file, *self.manifest.span(chunk))


class States:
    """For use in the network's event loop. `refused` are offers that were lies, by their chunks' digests."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.refused: set[bytes] = set()
        self._given: dict[str, OpenState] = {}  # by the state's digest, the newest last
        self._reading = asyncio.Lock()

    async def offer(self, path: Path, digest: str, fetched: Manifest | None = None) -> Manifest:
        """Give the state file to whoever asks; what there is to say of it. `fetched` is the manifest that the file was
        verified against when it came from others: it need not be read once more then. Raises OSError.
        """
        known = fetched if fetched and fetched.chunk_size == CHUNK else None
        async with self._reading:
            if digest not in self._given:
                self._given[digest] = await asyncio.to_thread(OpenState.of, path, known)
        held = self._given[digest]
        held.asked_at = time.monotonic()
        self.shelf.put(held)
        self._forget_old()
        return held.manifest

    def _forget_old(self) -> None:
        for digest, held in list(self._given.items())[:-_KEPT]:
            if time.monotonic() - held.asked_at > _ASKED_SECONDS:
                self._given.pop(digest)
                self.shelf.drop(held.manifest.sha256)


def _manifest(path: Path) -> Manifest:
    sha256, size, chunks = chunked(path, CHUNK)
    return Manifest.of(pb.Blob(name=path.name, sha256=sha256, size=size, chunk_size=CHUNK, chunks=chunks))
