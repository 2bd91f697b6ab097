"""Files on their way: what is in them, who fills them, how many are served."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from peer.held import STREAMS, Part, Shelf, found
from swarm.chunks import Manifest, blob_of, chunked
from swarm.errors import CorruptError

DATA = os.urandom(10)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Ten bytes in three chunks."""
    (tmp_path / "f").write_bytes(DATA)
    sha256, size, chunks = chunked(tmp_path / "f", 4)
    return Manifest.of(blob_of({"name": "f", "sha256": sha256, "size": size, "chunk_size": 4, "chunks": chunks.hex()}))


def test_a_file_is_resumed_from_its_own_bytes_and_published_whole(manifest: Manifest, tmp_path: Path) -> None:
    part = Part(manifest, tmp_path)
    assert part.open()
    assert part.write(2, DATA[8:])
    assert not part.write(0, b"lies")
    part.close()
    part = Part(manifest, tmp_path)
    assert part.open()
    assert part.held.here == {2}
    assert found(manifest, tmp_path) is None
    assert part.write(0, DATA[:4])
    assert part.write(1, DATA[4:8])
    part.finish()
    part.close()
    whole = found(manifest, tmp_path)
    assert whole is not None
    assert b"".join(b"".join(whole.parts(chunk)) for chunk in range(3)) == DATA


def test_one_process_fills_a_file_and_nobody_fills_one_that_is_there(manifest: Manifest, tmp_path: Path) -> None:
    first, second = Part(manifest, tmp_path), Part(manifest, tmp_path)
    assert first.open()
    assert not second.open()
    for chunk in range(3):
        offset, length = manifest.span(chunk)
        assert first.write(chunk, DATA[offset : offset + length])
    first.finish()
    first.close()
    assert not second.open()
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_chunks_that_do_not_make_up_the_file_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    other = Manifest("f", "ab" * 32, manifest.size, manifest.chunk_size, manifest.digests)
    part = Part(other, tmp_path)
    assert part.open()
    for chunk in range(3):
        offset, length = manifest.span(chunk)
        part.write(chunk, DATA[offset : offset + length])
    with pytest.raises(CorruptError, match="do not make up that file"):
        part.finish()
    part.close()
    assert list(tmp_path.glob("ab*")) == []


def test_more_than_a_few_at_once_are_told_that_it_is_busy() -> None:
    shelf = Shelf()
    with ExitStack() as stack:
        free = [stack.enter_context(shelf.stream()) for _ in range(STREAMS + 1)]
    assert free == [True] * STREAMS + [False]
    with shelf.stream() as again:
        assert again
