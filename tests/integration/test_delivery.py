"""A file from several donors at once, between real processes: deaths, lies, a second start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from swarm.chunks import Manifest, blob_of, chunked
from tests.harness import ExchangePeers, Program, exchange_peers

pytestmark = [pytest.mark.processes, pytest.mark.timeout(90)]

SIZE = 40 << 20
CHUNKS = 40


@pytest.fixture
def file(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """40 MiB in chunks of 1 MiB, and what a run would say of it."""
    path = tmp_path / "base.safetensors"
    path.write_bytes(os.urandom(SIZE))
    sha256, size, chunks = chunked(path, 1 << 20)
    facts = {"name": path.name, "sha256": sha256, "size": size, "chunk_size": 1 << 20, "chunks": chunks.hex()}
    return path, facts


def donor(swarm: ExchangePeers, file: tuple[Path, dict[str, Any]], folder: Path, first: int, last: int) -> Program:
    """A peer that has the chunks first ≤ i < last, and gets no others."""
    folder.mkdir()
    source, facts = file
    with source.open("rb") as whole, (folder / f"{facts['sha256']}.part").open("wb") as part:
        part.truncate(facts["size"])
        whole.seek(first << 20)
        part.seek(first << 20)
        part.write(whole.read((last - first) << 20))
    peer = swarm.start(file=facts, folder=str(folder), seconds=0.5)
    peer.named("advance")
    return peer


def fetcher(swarm: ExchangePeers, file: tuple[Path, dict[str, Any]], folder: Path, **settings: Any) -> Program:
    return swarm.start(file=file[1], folder=str(folder), **{"source": str(file[0]), **settings})


def same(event: dict[str, Any], file: tuple[Path, dict[str, Any]]) -> bool:
    return Path(event["path"]).read_bytes() == file[0].read_bytes()


def test_peers_and_the_coordinator_give_at_once(file: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with exchange_peers("tests.delivery_peer") as swarm:
        donor(swarm, file, tmp_path / "one", 0, 20)
        donor(swarm, file, tmp_path / "two", 10, 30)
        third = fetcher(swarm, file, tmp_path / "three")
        fetched = third.named("fetched")
        gave = fetched["gave"]
        assert len(gave) == 3
        assert sum(gave.values()) == CHUNKS
        assert gave["coordinator"] >= 10
        assert same(fetched, file)
        assert sorted(path.name for path in (tmp_path / "three").iterdir()) == sorted(
            [file[1]["sha256"], f"{file[1]['sha256']}.stamp"]
        )
        assert all(peer.stderr == "" for peer in swarm.peers)


def test_kill_9_of_a_donor_in_the_middle_loses_no_chunk(file: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with exchange_peers("tests.delivery_peer") as swarm:
        donor(swarm, file, tmp_path / "one", 0, 10)
        victim = donor(swarm, file, tmp_path / "two", 5, 40)
        third = fetcher(swarm, file, tmp_path / "three", seconds=0.3)
        third.wait_for(lambda e: e["event"] == "kept" and e["donor"] != "coordinator")
        victim.kill()
        fetched = third.named("fetched", 60)
        assert same(fetched, file)
        assert sum(fetched["gave"].values()) == CHUNKS


def test_kill_9_of_the_fetcher_and_a_second_start_fetches_only_the_rest(
    file: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with exchange_peers("tests.delivery_peer") as swarm:
        donor(swarm, file, tmp_path / "one", 0, 20)
        first = fetcher(swarm, file, tmp_path / "three", seconds=0.2)
        for _ in range(25):
            kept = first.named("kept")
        first.kill()
        first.process.wait()
        here = {event["chunk"] for event in first.every("kept")}
        assert kept["chunk"] in here
        second = fetcher(swarm, file, tmp_path / "three")
        fetched = second.named("fetched")
        assert same(fetched, file)
        again = [event["chunk"] for event in second.every("kept")]
        assert not here & set(again)
        assert len(again) == len(set(again)) <= CHUNKS - len(here)


def test_wrong_bytes_are_found_and_their_donor_is_left(file: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with exchange_peers("tests.delivery_peer") as swarm:
        liar = donor(swarm, file, tmp_path / "one", 0, 40 - 1)
        with (tmp_path / "one" / f"{file[1]['sha256']}.part").open("r+b") as part:
            for chunk in range(CHUNKS):
                part.seek(chunk << 20)
                part.write(b"wrong")
        donor(swarm, file, tmp_path / "two", 0, 20)
        third = fetcher(swarm, file, tmp_path / "three", seconds=0.02)
        fetched = third.named("fetched")
        assert same(fetched, file)
        assert liar.events[0]["id"] not in fetched["gave"]
        assert len(fetched["gave"]) == 2


def test_without_a_donor_it_ends_and_says_why(file: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with exchange_peers("tests.delivery_peer") as swarm:
        alone = fetcher(swarm, file, tmp_path / "one", source="", patience=3.0)
        failed = alone.named("failed", 20)
        assert failed["code"] == "STALLED"
        assert "40 of 40 chunks are missing, and for 3 s no donor answers" in failed["what"]


def test_who_cannot_be_dialled_fetches_too(file: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with exchange_peers("tests.delivery_peer") as swarm:
        donor(swarm, file, tmp_path / "one", 0, 39)
        hidden = fetcher(swarm, file, tmp_path / "two", client_mode=True)
        assert len(hidden.named("fetched")["gave"]) == 2


def test_two_peers_of_one_machine_share_the_folder_and_the_work(
    file: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with exchange_peers("tests.delivery_peer") as swarm:
        one = fetcher(swarm, file, tmp_path / "cache", seconds=0.5)  # 10 s: the other starts meanwhile
        one.named("kept")
        two = fetcher(swarm, file, tmp_path / "cache")
        waits = two.named("advance")
        assert "another peer on this machine fetches base.safetensors" in waits["text"]
        assert same(one.named("fetched"), file)
        assert two.named("fetched")["gave"] == {}


def test_a_damaged_file_in_the_cache_is_refused_by_name(file: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    sha256 = Manifest.of(blob_of(file[1])).sha256
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / sha256).write_bytes(b"\0" * SIZE)
    with exchange_peers("tests.delivery_peer") as swarm:
        failed = fetcher(swarm, file, tmp_path / "cache").named("failed")
        assert failed["code"] == "CORRUPT"
        assert "base.safetensors" in failed["what"]
        assert sha256 in failed["what"]
