"""A membership's last words: sent while there is time, kept when there is not."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from peer.outbox import Outbox
from swarm import notes
from swarm.client import CoordinatorClient
from swarm.errors import DiskError
from swarm.proto import coordinator_pb2 as pb
from tests.sessions import offer, session_of
from tests.tiny_coordinator import TinyCoordinator, refuse, serving
from tests.victims import until


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
    session = session_of(client, outbox, tmp_path)
    session.join()
    offer(session)
    hurry, started = threading.Event(), time.monotonic()
    threading.Timer(0.3, hurry.set).start()
    assert not session.sender.flush(15.0, hurry)
    assert time.monotonic() - started < 3
    assert session.sender.hands_over()
    server.over.set()
    assert session.sender.flush(10.0)
    outbox.close()


def test_a_hand_over_on_a_slow_line_ends_in_time_and_is_kept(
    server: SlowLine, client: CoordinatorClient, tmp_path: Path
) -> None:
    box = Outbox(tmp_path / "outbox.sqlite")
    box.open()
    session = session_of(client, box, tmp_path)
    offer(session)
    assert session.sender.hands_over()
    began = time.monotonic()
    assert not session.sender.flush(0.5)
    assert time.monotonic() - began < 2
    box.close()
    server.over.set()
    time.sleep(0.3)  # what was being sent arrives after the box was closed
    box.open()
    assert session.sender.flush(5.0)
    assert not session.sender.hands_over()
    box.close()


def test_a_lost_workers_membership_ends_once_the_coordinator_is_back(
    server: SlowLine, client: CoordinatorClient, tmp_path: Path
) -> None:
    """Until then its heartbeats would hold leases that nobody works on any more."""
    box, lost = Outbox(tmp_path / "outbox.sqlite"), threading.Event()
    box.open()
    session = session_of(client, box, tmp_path)
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


# ── a disk that is full ─────────────────────────────────────────────────────────────────────────


class FullBox(Outbox):
    """The disk does not take that leases are void, while it is `full`."""

    full = True

    def void_leases(self) -> None:
        if self.full:
            raise DiskError("The disk is full.")
        super().void_leases()


@dataclass
class Another(TinyCoordinator):
    """Knows nobody at its first heartbeat, and has a history that no peer has heard of."""

    def Heartbeat(self, request: pb.HeartbeatRequest, context: grpc.ServicerContext) -> pb.HeartbeatResponse:  # noqa: N802
        first = not any(isinstance(item, pb.HeartbeatRequest) for item in self.asked)
        self._note(request, context)
        if first:
            refuse(context, grpc.StatusCode.UNAUTHENTICATED, pb.ErrorDetail(code="REFUSED", what="Not a member."))
        return pb.HeartbeatResponse(round=3, history="another")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[FullBox]:
    found = FullBox(tmp_path / "outbox.sqlite")
    found.open()
    yield found
    found.close()


def test_lost_leases_are_worked_on_no_more_whatever_the_disk_takes(box: FullBox, tmp_path: Path) -> None:
    lost = threading.Event()
    with serving(Another(), tmp_path / "server") as invite, CoordinatorClient.connect(invite) as client:
        session = session_of(client, box, tmp_path / "outbox")
        session.on_lost = lost.set
        session.start()
        assert lost.wait(10)
        session.leave("the test is over")


def test_a_history_that_cannot_be_kept_is_said_and_heartbeats_go_on(box: FullBox, tmp_path: Path) -> None:
    folder, said = tmp_path / "later", queue.Queue[str]()
    with serving(Another(), tmp_path / "server") as invite, CoordinatorClient.connect(invite) as client:
        session = session_of(client, box, folder / "outbox")
        session.on_lost, session.on_trouble = session._due.set, said.put
        session.start()
        assert said.get(timeout=10).startswith("Keeping the coordinator's history failed: No such file")
        folder.mkdir()
        session.doing(pb.HeartbeatRequest(phase="waiting"))  # is said at once
        until(lambda: notes.kept(folder / "history") == "another", 10)
        session.leave("the test is over")


def test_a_renewal_that_the_disk_does_not_take_stays_due(
    box: FullBox, server: SlowLine, client: CoordinatorClient, tmp_path: Path
) -> None:
    lost = threading.Event()
    session = session_of(client, box, tmp_path / "outbox")
    session.on_lost = lost.set
    session.renew("the training process ended unexpectedly")
    assert server.asked == []
    box.full = False
    session.start()
    assert lost.wait(10)
    session.leave("the test is over")
