"""A membership's last words: sent while there is time, kept when there is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from peer.outbox import Outbox
from peer.session import Session, Standing, Who
from swarm.client import CoordinatorClient
from swarm.proto import coordinator_pb2 as pb
from tests.tiny_coordinator import TinyCoordinator


@dataclass
class SlowLine(TinyCoordinator):
    """An upload does not end before `over` is set."""

    over: threading.Event = field(default_factory=threading.Event)

    def Upload(self, request: Iterator[pb.UploadChunk], context: grpc.ServicerContext) -> pb.UploadResponse:  # noqa: N802
        self.over.wait(20)
        return super().Upload(request, context)


@pytest.fixture
def server() -> Iterator[SlowLine]:
    found = SlowLine()
    yield found
    found.over.set()


def test_a_hand_over_ends_at_once_in_a_hurry(server: SlowLine, client: CoordinatorClient, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.open()
    session = Session(client, Who(b"k" * 32, "peer", "", 0), outbox, tmp_path, Standing())
    session.join()
    (tmp_path / "round-4.safetensors").write_bytes(b"x" * 1000)
    session.offer(pb.Checkpoint(round=4))
    hurry, started = threading.Event(), time.monotonic()
    threading.Timer(0.3, hurry.set).start()
    assert not session.flush(15.0, hurry)
    assert time.monotonic() - started < 3
    assert session.hands_over()
    server.over.set()
    assert session.flush(10.0)
    outbox.close()


def test_a_hand_over_on_a_slow_line_ends_in_time_and_is_kept(
    server: SlowLine, client: CoordinatorClient, tmp_path: Path
) -> None:
    box = Outbox(tmp_path / "outbox.sqlite")
    box.open()
    session = Session(client, Who(b"k" * 32, "one", "", 0), box, tmp_path, Standing())
    session.checkpoint_path(4).write_bytes(b"state")
    session.offer(pb.Checkpoint(round=4))
    assert session.hands_over()
    began = time.monotonic()
    assert not session.flush(0.5)
    assert time.monotonic() - began < 2
    box.close()
    server.over.set()
    time.sleep(0.3)  # what was being sent arrives after the box was closed
    box.open()
    assert session.flush(5.0)
    assert not session.hands_over()
    box.close()
