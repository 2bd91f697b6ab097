"""Downloads over a real line that breaks, ends early, or brings the wrong bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.client import CoordinatorClient
from swarm.errors import CorruptError, DiskError, NotFoundError, SwarmError, UnreachableError
from swarm.proto import coordinator_pb2 as pb
from tests.tiny_coordinator import BLOB, SHA256, TinyCoordinator, altered, broken_after, ended_after, not_found, whole


def offsets(server: TinyCoordinator) -> list[int]:
    return [request.offset for request in server.asked if isinstance(request, pb.DownloadRequest)]


def test_a_download_is_whole_and_says_how_far_it_is(client: CoordinatorClient, tmp_path: Path) -> None:
    seen: list[int] = []
    target = tmp_path / "new" / "blob"
    client.download(SHA256, len(BLOB), target, seen.append)
    assert target.read_bytes() == BLOB
    assert [item.name for item in target.parent.iterdir()] == ["blob"]
    assert seen == sorted(seen)
    assert seen[-1] == len(BLOB)


def test_what_is_there_is_not_fetched_again(client: CoordinatorClient, server: TinyCoordinator, tmp_path: Path) -> None:
    for _ in range(2):
        client.download(SHA256, len(BLOB), tmp_path / "blob")
    assert offsets(server) == [0]


def test_a_broken_line_goes_on_where_it_stopped(
    client: CoordinatorClient, server: TinyCoordinator, tmp_path: Path
) -> None:
    server.downloads = [broken_after(300_000), broken_after(500_000)]
    client.download(SHA256, len(BLOB), tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == BLOB
    assert offsets(server) == [0, 300_000, 800_000]


def test_a_line_without_a_byte_gives_up_and_a_later_call_goes_on(
    client: CoordinatorClient, server: TinyCoordinator, tmp_path: Path
) -> None:
    server.downloads = [broken_after(300_000), broken_after(0)]
    with pytest.raises(UnreachableError):
        client.download(SHA256, len(BLOB), tmp_path / "blob")
    assert not (tmp_path / "blob").exists()
    client.download(SHA256, len(BLOB), tmp_path / "blob")
    assert offsets(server) == [0, 300_000, 300_000]
    assert (tmp_path / "blob").read_bytes() == BLOB


def test_altered_bytes_are_refused_and_not_kept(
    client: CoordinatorClient, server: TinyCoordinator, tmp_path: Path
) -> None:
    server.downloads = [altered]
    with pytest.raises(CorruptError, match="blob arrived altered"):
        client.download(SHA256, len(BLOB), tmp_path / "blob")
    assert [item for item in tmp_path.iterdir() if item.name.startswith("blob")] == []
    client.download(SHA256, len(BLOB), tmp_path / "blob")
    assert offsets(server) == [0, 0]


def test_a_copy_that_ends_too_early_is_refused(
    client: CoordinatorClient, server: TinyCoordinator, tmp_path: Path
) -> None:
    server.downloads = [ended_after(10), ended_after(0)]
    with pytest.raises(CorruptError, match="shorter than it says"):
        client.download(SHA256, len(BLOB), tmp_path / "blob")


def test_more_bytes_than_said_are_not_taken(client: CoordinatorClient, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="altered"):
        client.download(SHA256, 1000, tmp_path / "blob")


def test_an_unknown_blob_is_said_so(client: CoordinatorClient, server: TinyCoordinator, tmp_path: Path) -> None:
    server.downloads = [not_found]
    with pytest.raises(NotFoundError, match="No such blob"):
        client.download(SHA256, len(BLOB), tmp_path / "blob")


def test_a_disk_that_is_too_small_is_found_before_the_first_byte(
    client: CoordinatorClient, server: TinyCoordinator, tmp_path: Path
) -> None:
    with pytest.raises(DiskError, match="MB free"):
        client.download(SHA256, 1 << 60, tmp_path / "blob")
    assert offsets(server) == []


def test_a_folder_that_is_a_file_is_said_so(client: CoordinatorClient, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SwarmError, match=r"(?i)fetching blob"):
        client.download(SHA256, len(BLOB), tmp_path / "file" / "blob")


def test_uploading_what_is_not_there_is_a_sentence(client: CoordinatorClient, tmp_path: Path) -> None:
    with pytest.raises(SwarmError, match=r"(?i)sending none"):
        client.upload("m", tmp_path / "none", SHA256, 0)


def test_a_part_of_a_file_goes_on_over_a_broken_line(client: CoordinatorClient, server: TinyCoordinator) -> None:
    server.downloads = [broken_after(100_000), whole]
    assert client.download_range(SHA256, 200_000, 300_000) == BLOB[200_000:500_000]
    assert offsets(server) == [200_000, 300_000]
    assert client.download_range(SHA256, len(BLOB) - 5, 5) == BLOB[-5:]


def test_a_part_of_a_file_that_does_not_come_is_said_so(client: CoordinatorClient, server: TinyCoordinator) -> None:
    server.downloads = [broken_after(0), not_found, ended_after(10), ended_after(0)]
    for error in (UnreachableError, NotFoundError, CorruptError):
        with pytest.raises(error):
            client.download_range(SHA256, 0, 300_000)
