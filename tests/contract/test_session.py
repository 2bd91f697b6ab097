"""A membership's last words: sent while there is time, kept when there is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
from safetensors.numpy import save

from peer.outbox import Outbox
from peer.session import Session, Standing, Who
from swarm.client import CoordinatorClient
from swarm.proto import coordinator_pb2 as pb
from swarm.tensorfile import state_digest
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


def offer(session: Session) -> None:
    """Keep a checkpoint of round 4."""
    path = session.checkpoint_path(4)
    path.write_bytes(save({"model/weight": np.zeros(250, np.float32)}))
    session.offer(pb.Checkpoint(round=4, digest=state_digest(path)))


def test_a_hand_over_ends_at_once_in_a_hurry(server: SlowLine, client: CoordinatorClient, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.open()
    session = Session(client, Who(b"k" * 32, "peer", "", 0), outbox, tmp_path, Standing())
    session.join()
    offer(session)
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
    offer(session)
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


def test_a_lost_workers_membership_ends_once_the_coordinator_is_back(
    server: SlowLine, client: CoordinatorClient, tmp_path: Path
) -> None:
    """Until then its heartbeats would hold leases that nobody works on any more."""
    box, lost = Outbox(tmp_path / "outbox.sqlite"), threading.Event()
    box.open()
    session = Session(client, Who(b"k" * 32, "one", "", 0), box, tmp_path, Standing())
    session.on_lost = lost.set
    session.join()
    server.refusal = (grpc.StatusCode.UNAVAILABLE, None)
    session.renew("the training process ended unexpectedly")
    server.refusal, server.asked = None, []
    session.start()
    assert lost.wait(10)
    session.leave("the test is over")
    box.close()
    told = [item for item in server.asked if isinstance(item, pb.LeaveRequest | pb.JoinRequest)]
    assert [type(item) for item in told] == [pb.LeaveRequest, pb.JoinRequest, pb.LeaveRequest]
    assert told[0].reason == "the training process ended unexpectedly"
