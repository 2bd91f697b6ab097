"""The checkpoints of earlier evenings do not fill the volunteer's disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from threading import Thread
from typing import cast

from peer.fetch import Files
from swarm.client import CoordinatorClient
from swarm.proto import coordinator_pb2 as pb


class Coordinator:
    """Gives the states of all rounds."""

    def __init__(self) -> None:
        self.given = 0

    def download(self, _sha256: str, size: int, target: Path) -> None:
        self.given += 1
        target.write_bytes(bytes([size]) * size)


def state(round_: int) -> pb.Checkpoint:
    size = round_ + 1
    return pb.Checkpoint(round=round_, sha256=hashlib.sha256(bytes([size]) * size).hexdigest(), size=size)


def test_the_newest_checkpoint_and_the_one_before_stay(tmp_path: Path) -> None:
    coordinator = Coordinator()
    files = Files(cast(CoordinatorClient, coordinator), tmp_path / "blobs", lambda _: None)
    for round_ in range(6):
        files.checkpoint(state(round_))
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {state(4).sha256, state(5).sha256}
    files.checkpoint(state(4))
    assert coordinator.given == 6, "what is there is not fetched again"
    assert not (tmp_path / "blobs").exists()


def test_a_state_that_a_worker_is_about_to_read_stays_while_older_ones_reach_the_coordinator(tmp_path: Path) -> None:
    """They waited in the outbox while the coordinator was away."""
    files = Files(cast(CoordinatorClient, Coordinator()), tmp_path / "blobs", lambda _: None)
    waiting = [tmp_path / f"round-{round_}" for round_ in (1, 2)]
    for path in waiting:
        path.write_bytes(b"state")
    begun = files.checkpoint(state(0))
    for path in waiting:
        files.keep_checkpoint(path, hashlib.sha256(path.name.encode()).hexdigest())
    assert begun.exists()


def test_a_state_on_its_way_is_not_driven_out_by_those_that_are_kept_meanwhile(tmp_path: Path) -> None:
    """Another thread keeps what reached the coordinator, while one is being fetched."""
    ways = [tmp_path / f"round-{round_}" for round_ in (1, 2, 3)]
    keeping: list[Thread] = []

    class Slow(Coordinator):
        def download(self, _sha256: str, size: int, target: Path) -> None:
            part = target.with_suffix(".part")
            part.write_bytes(bytes([size]) * size)
            os.utime(part, (1, 1))  # the line stood still for long
            keeping.append(Thread(target=keep))
            keeping[0].start()
            keeping[0].join(1)
            part.replace(target)

    files = Files(cast(CoordinatorClient, Slow()), tmp_path / "blobs", lambda _: None)

    def keep() -> None:
        for path in ways:
            path.write_bytes(b"state")
            files.keep_checkpoint(path, hashlib.sha256(path.name.encode()).hexdigest())

    files.checkpoint(state(0))  # its part is there to the end; those that are kept afterwards are newer
    keeping[0].join(10)
    assert not any(path.exists() for path in ways)
