"""A file as chunks of known digests: it can come from several donors at once, and each chunk is checked alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.errors import CorruptError
from swarm.proto import coordinator_pb2 as pb
from swarm.tensorfile import is_sha256, region

CHUNK = 4 << 20  # bytes; a gigabyte is 256 chunks
_LARGEST = 256 << 20  # bytes of a chunk: whoever fetches one has it in memory
_DATA = (".safetensors", ".json", ".txt", ".jinja", ".model", ".tiktoken")
_DIGEST = 32  # bytes of a SHA-256


@dataclass(frozen=True)
class Manifest:
    """What a run says of a file; `digests` holds the SHA-256 of each chunk, 32 bytes each, in order.

    A file whose blob names no chunks is one chunk.
    """

    name: str
    sha256: str
    size: int  # bytes
    chunk_size: int  # bytes of every chunk but the last
    digests: tuple[bytes, ...]

    @classmethod
    def of(cls, blob: pb.Blob) -> Manifest:
        """Raises CorruptError for a name that is no plain file name, and for chunks that do not make up the file."""
        require_plain(blob.name)
        if min(blob.chunk_size or blob.size, blob.size) > _LARGEST:
            raise _nonsense(blob.name, f"a chunk of it has {min(blob.chunk_size or blob.size, blob.size)} bytes")
        require_sha256(blob)
        if not blob.chunk_size:
            return cls(blob.name, blob.sha256, blob.size, blob.size, (bytes.fromhex(blob.sha256),))
        digests = tuple(blob.chunks[i : i + _DIGEST] for i in range(0, len(blob.chunks), _DIGEST))
        if len(blob.chunks) != _DIGEST * _count(blob.size, blob.chunk_size):
            raise _nonsense(blob.name, "its chunks do not make up its size")
        return cls(blob.name, blob.sha256, blob.size, blob.chunk_size, digests)

    @property
    def count(self) -> int:
        return len(self.digests)

    def span(self, index: int) -> tuple[int, int]:
        """Offset and length of a chunk, in bytes."""
        offset = index * self.chunk_size
        return offset, min(self.chunk_size, self.size - offset)

    def facts(self) -> dict[str, Any]:
        """As artefacts.json has it, and as it travels between a peer's processes: JSON knows no bytes."""
        one = {"name": self.name, "sha256": self.sha256, "size": self.size, "chunk_size": self.chunk_size}
        return {**one, "chunks": b"".join(self.digests).hex()}


def blob_of(facts: dict[str, Any]) -> pb.Blob:
    """A blob as artefacts.json has it: "chunks" is hex, and with "chunk_size" may be left out."""
    return pb.Blob(**{**facts, "chunks": bytes.fromhex(facts.get("chunks", ""))})


def chunked(path: Path, chunk_size: int = CHUNK) -> tuple[str, int, bytes]:
    """SHA-256 (hex), size, and the chunks' digests of 32 bytes each, of a file that is read once."""
    digests: list[bytes] = []
    whole, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while True:
            one, start = hashlib.sha256(), size
            for data in region(file, start, chunk_size):
                whole.update(data)
                one.update(data)
                size += len(data)
            if size == start and digests:
                return whole.hexdigest(), size, b"".join(digests)
            digests.append(one.digest())


def require_plain(name: str) -> None:
    """Raises CorruptError for a name that could lead out of the folder it is meant for."""
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise _nonsense(name, "that is no plain file name")


def require_data(name: str) -> None:
    """Raises CorruptError for the name of a file that is no plain data, though it were never opened: transformers would
    take code or pickled weights where it finds them.
    """
    require_plain(name)
    if not name.endswith(_DATA):
        raise _nonsense(name, f"a model's files end in {', '.join(_DATA)}")


def require_sha256(blob: pb.Blob) -> None:
    """Raises CorruptError for a file that is not named by a SHA-256: on disk it has that name."""
    if not is_sha256(blob.sha256):
        raise _nonsense(blob.name, "its SHA-256 is none")


def _count(size: int, chunk_size: int) -> int:
    return max(1, -(-size // chunk_size))


def _nonsense(name: str, why: str) -> CorruptError:
    return CorruptError(
        f"The coordinator names the file {name!r}, but {why}.", "Do not join this run; tell its maintainer."
    )
