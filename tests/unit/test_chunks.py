"""Manifests of files in chunks, and the stamps that spare a second hashing."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm import stamps
from swarm.chunks import Manifest, blob_of, chunked
from swarm.errors import CorruptError
from swarm.proto import coordinator_pb2 as pb
from swarm.tensorfile import region


def blob(path: Path, chunk_size: int) -> pb.Blob:
    sha256, size, chunks = chunked(path, chunk_size)
    return pb.Blob(name=path.name, sha256=sha256, size=size, chunk_size=chunk_size, chunks=chunks)


@given(st.binary(max_size=100), st.integers(1, 40))
def test_chunks_make_up_the_file(data: bytes, chunk_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        path.write_bytes(data)
        manifest = Manifest.of(blob(path, chunk_size))
        with path.open("rb") as file:
            parts = [b"".join(region(file, *manifest.span(index))) for index in range(manifest.count)]
    assert b"".join(parts) == data
    assert [hashlib.sha256(part).digest() for part in parts] == list(manifest.digests)
    assert (manifest.sha256, manifest.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert Manifest.of(blob_of(manifest.facts())) == manifest


def test_a_blob_without_chunks_is_one_chunk() -> None:
    digest = hashlib.sha256(b"abc")
    manifest = Manifest.of(blob_of({"name": "n", "sha256": digest.hexdigest(), "size": 3}))
    assert (manifest.digests, manifest.span(0)) == ((digest.digest(),), (0, 3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"name": ""},
        {"name": ".."},
        {"chunks": b"x" * 31},
        {"chunks": b"x" * 96},
        {"size": 100},
        {"sha256": "zz"},
        {"sha256": "../../etc/passwd"},
        {"sha256": "AB" * 32},
    ],
)
def test_nonsense_from_a_coordinator_is_refused(wrong: dict[str, object]) -> None:
    right = {"name": "n", "sha256": "ab" * 32, "size": 8, "chunk_size": 4, "chunks": b"x" * 64}
    Manifest.of(pb.Blob(**right))  # type: ignore[arg-type]
    with pytest.raises(CorruptError, match="Do not join"):
        Manifest.of(pb.Blob(**{**right, **wrong}))  # type: ignore[arg-type]


def test_a_verified_file_is_hashed_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    sha256 = hashlib.sha256(b"abc").hexdigest()
    hashed: list[Path] = []
    real = stamps.sha256_file
    monkeypatch.setattr(stamps, "sha256_file", lambda path: hashed.append(path) or real(path))
    assert stamps.verified(path, sha256, 3)
    assert stamps.verified(path, sha256, 3)
    assert len(hashed) == 1
    os.utime(path, ns=(0, 1))
    assert stamps.verified(path, sha256, 3)
    assert len(hashed) == 2
    path.write_bytes(b"abd")
    assert not stamps.verified(path, sha256, 3)
    assert not stamps.verified(path, sha256, 4)
    assert len(hashed) == 3


def test_a_torn_stamp_is_no_stamp(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    stamps.stamp(path, "ab" * 32)
    assert stamps.verified(path, "ab" * 32, 3)
    (tmp_path / "f.stamp").write_text("{")
    assert not stamps.verified(path, "ab" * 32, 3)
