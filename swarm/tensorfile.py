"""Safetensors files without torch: reading the header, the state digest, writing that survives a power cut.

Format: https://github.com/huggingface/safetensors#format (8 bytes little-endian header length, JSON header, raw data).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from swarm.errors import CorruptError

MAX_HEADER = 8 << 20  # bytes: sixty thousand tensors; as Python objects up to 25 times as many
_READ = 512 << 10  # bytes
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file; `begin` and `end` are byte offsets from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself, tensors in the order of their names."""

    metadata: dict[str, str]
    tensors: tuple[TensorEntry, ...]


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file.

    Raises CorruptError, naming the file, when it is torn or is not such a file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(MAX_HEADER, size - 8):
            raise _torn(path, "its header is cut short")
        try:
            raw = json.loads(file.read(length))
            header = _parse(raw, 8 + length)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _torn(path, "its header cannot be read") from error
    if not _in_a_row(header.tensors, 8 + length, size):
        raise _torn(path, "its length does not fit its header")
    return header


def _in_a_row(tensors: Iterable[TensorEntry], begin: int, end: int) -> bool:
    """Whether each byte from `begin` to `end` is of one tensor, as the format demands: who reads them reads no byte
    twice.
    """
    for entry in sorted(tensors, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != begin:
            return False
        begin = entry.end
    return begin == end


def _parse(raw: dict[str, object], data_start: int) -> Header:
    metadata = raw.pop("__metadata__", {})
    entries = [_entry(name, value, data_start) for name, value in raw.items()]
    if not isinstance(metadata, dict):
        raise TypeError("metadata")
    return Header(
        {str(key): str(value) for key, value in metadata.items()},
        tuple(sorted(entries, key=lambda entry: entry.name.encode())),
    )


def _entry(name: str, value: object, data_start: int) -> TensorEntry:
    if not isinstance(value, dict):
        raise TypeError(name)
    begin, end = value["data_offsets"]
    shape = value["shape"]
    if any(type(number) is not int for number in (begin, end, *shape)) or not 0 <= begin <= end:
        raise ValueError(name)
    return TensorEntry(name, str(value["dtype"]), tuple(shape), data_start + begin, data_start + end)


def is_sha256(text: str) -> bool:
    """Whether it is a SHA-256 in lowercase hex: files are named so, and such a name leads nowhere else."""
    return _SHA256.fullmatch(text) is not None


def tensor_prefix(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    """What the state digest takes of a tensor before its bytes."""
    return f"{name}\0{dtype}\0{','.join(map(str, shape))}\0".encode()


def state_digest(path: Path) -> str:
    """The digest of a state file (docs/architecture.md), computed from its bytes.

    Raises CorruptError when the file is torn.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for entry in read_header(path).tensors:
            digest.update(tensor_prefix(entry.name, entry.dtype, entry.shape))
            for chunk in region(file, entry.begin, entry.end - entry.begin):
                digest.update(chunk)
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, lowercase hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def region(file: BinaryIO, offset: int, length: int) -> Iterator[bytes]:
    """The bytes of a part of a file, in pieces; fewer when the file ends before. Moves no file position."""
    end = offset + length
    while data := os.pread(file.fileno(), min(_READ, end - offset), offset):
        offset += len(data)
        yield data


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Write `path` so that it is there as a whole or not at all, also after a power cut.

    Temporary file beside it, fsync, rename, fsync of the folder. On an error the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Rename a synced file into place and sync the folder, so that the name survives a power cut."""
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Let a file's bytes, or a folder's names, survive a power cut."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _torn(path: Path, why: str) -> CorruptError:
    return CorruptError(
        f"{path.name} is torn or was altered: {why}; it is not used.",
        f"Delete {path} and fetch it again, or use another checkpoint.",
    )
