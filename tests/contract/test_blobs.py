"""Blobs: whole or not there, resumed at any byte, named by what they hold."""

from __future__ import annotations

import hashlib
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.blobs import Blobs
from swarm.errors import CorruptError, NotFoundError, UsageError

DATA = bytes(range(256)) * 40
NAME = hashlib.sha256(DATA).hexdigest()
BY = "anna"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.integers(0, len(DATA)), st.integers(1, 5000))
def test_an_upload_goes_on_where_it_broke_off(blobs: Blobs, cut: int, size: int) -> None:
    blobs.delete(NAME)
    assert blobs.receive(NAME, len(DATA), 0, pieces(DATA[:cut], size), BY) is (cut == len(DATA))
    assert blobs.path(NAME).exists() is (cut == len(DATA))
    assert blobs.receive(NAME, len(DATA), blobs.arrived(NAME, BY), pieces(DATA[cut:], size), BY)
    assert b"".join(blobs.read(NAME, len(DATA), 0)) == DATA
    assert b"".join(blobs.read(NAME, len(DATA), cut)) == DATA[cut:]


def test_altered_bytes_are_refused_and_thrown_away(blobs: Blobs) -> None:
    with pytest.raises(CorruptError, match="not the file that was offered"):
        blobs.receive(NAME, len(DATA), 0, [DATA[:-1] + b"x"], BY)
    assert blobs.arrived(NAME, BY) == 0
    assert not blobs.path(NAME).exists()


def test_a_gap_is_refused_and_more_than_was_announced_is_cut(blobs: Blobs) -> None:
    with pytest.raises(UsageError, match="only 0 are here"):
        blobs.receive(NAME, len(DATA), 10, [DATA[10:]], BY)
    assert blobs.receive(NAME, len(DATA), 0, [DATA + b"more"], BY)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 64 + "/x", f"{'0' * 63}\n"])
def test_only_a_sha256_names_a_file(blobs: Blobs, name: str) -> None:
    for call in (blobs.path, lambda name: blobs.arrived(name, BY), blobs.delete, blobs.verify):
        with pytest.raises(UsageError):
            call(name)


def test_two_uploads_of_the_same_blob_at_once(blobs: Blobs) -> None:
    ended: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda by: ended.append(blobs.receive(NAME, len(DATA), 0, pieces(DATA, 100), by)), args=by
        )
        for by in "aabbcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert ended == [True] * 6
    assert blobs.verify(NAME).read_bytes() == DATA


def test_an_upload_that_falls_silent_or_lies_holds_up_and_spoils_nobody_elses(blobs: Blobs) -> None:
    ended = threading.Event()

    def silent() -> Iterator[bytes]:
        yield b"x"
        ended.wait(20)

    held = threading.Thread(target=blobs.receive, args=(NAME, len(DATA), 0, silent(), "evil"))
    held.start()
    done: list[bool] = []
    honest = threading.Thread(target=lambda: done.append(blobs.receive(NAME, len(DATA), 0, [DATA], BY)))
    honest.start()
    honest.join(2)
    assert done == [True], "it does not wait for the silent one"
    ended.set()
    held.join(5)
    assert blobs.verify(NAME).read_bytes() == DATA
    assert [path.name for path in blobs.path(NAME).parent.iterdir()] == [NAME], "no part is left"


def test_torn_and_missing_blobs_are_refused_by_name(blobs: Blobs) -> None:
    with pytest.raises(NotFoundError):
        blobs.verify(NAME)
    blobs.receive(NAME, len(DATA), 0, [DATA], BY)
    blobs.path(NAME).write_bytes(DATA[:4096])
    with pytest.raises(CorruptError, match=NAME):
        blobs.verify(NAME)
    with pytest.raises(CorruptError, match=NAME):
        list(blobs.read(NAME, len(DATA), 0))


def test_a_full_disk_is_said_and_nothing_looks_complete(tmp_path: Path) -> None:
    """The kernel refuses to write beyond 4 kB, as a full disk would."""
    code = (
        "import sys; from pathlib import Path; from coordinator.blobs import Blobs\n"
        f"Blobs(Path(sys.argv[1])).receive({NAME!r}, {len(DATA)}, 0, [bytes(range(256)) * 40], 'anna')"
    )

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, preexec_fn=small_disk, capture_output=True, text=True, check=False)
    assert "SwarmError" in ended.stderr or "DiskError" in ended.stderr
    assert not (tmp_path / NAME).exists()


def test_a_big_file_is_hashed_once_and_refused_when_it_changes(tmp_path: Path) -> None:
    data = b"weights"
    sha256 = hashlib.sha256(data).hexdigest()
    blobs = Blobs(tmp_path)
    with pytest.raises(NotFoundError):
        blobs.verify_once(sha256, len(data))
    (tmp_path / sha256).write_bytes(data)
    blobs.verify_once(sha256, len(data))
    assert (tmp_path / f"{sha256}.stamp").exists()
    blobs.verify_once(sha256, len(data))
    (tmp_path / sha256).write_bytes(b"altered")
    with pytest.raises(CorruptError, match=sha256):
        blobs.verify_once(sha256, len(data))
