"""Heartbeats go on, whatever becomes of what is sent beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from peer.outbox import Outbox
from peer.session import Session
from swarm.client import CoordinatorClient
from swarm.proto import coordinator_pb2 as pb
from tests.sessions import offer, session_of
from tests.tiny_coordinator import TinyCoordinator, refuse
from tests.victims import until


@dataclass
class Busy(TinyCoordinator):
    """Wants to hear from members twenty times a second; an upload does not end before `over` is set."""

    over: threading.Event = field(default_factory=threading.Event)

    def Join(self, request: pb.JoinRequest, context: grpc.ServicerContext) -> pb.JoinResponse:  # noqa: N802
        self._note(request, context)
        return pb.JoinResponse(member_id="m", heartbeat_seconds=0.05)

    def Upload(self, request: Iterator[pb.UploadChunk], context: grpc.ServicerContext) -> pb.UploadResponse:  # noqa: N802
        self.asked.append("upload")
        self.over.wait(20)
        return pb.UploadResponse(complete=True)

    def count(self, kind: Any) -> int:
        return sum(isinstance(item, kind) for item in list(self.asked))


@pytest.fixture
def server() -> Iterator[Busy]:
    found = Busy()
    yield found
    found.over.set()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    found = Outbox(tmp_path / "outbox.sqlite")
    found.open()
    yield found
    found.close()


@pytest.fixture
def session(client: CoordinatorClient, box: Outbox, tmp_path: Path) -> Iterator[Session]:
    (tmp_path / "outbox").mkdir()
    found = session_of(client, box, tmp_path / "outbox")
    found.join()
    yield found
    found.leave("the test is over")


def test_heartbeats_do_not_wait_for_an_upload(server: Busy, session: Session) -> None:
    """The coordinator ends a membership that it does not hear of for 15 seconds; an upload may take minutes."""
    session.start()
    offer(session)
    until(lambda: "upload" in server.asked, 10)
    before = server.count(pb.HeartbeatRequest)
    until(lambda: server.count(pb.HeartbeatRequest) > before + 5, 10)


def test_a_state_that_cannot_be_kept_is_said_and_heartbeats_go_on(
    server: Busy, session: Session, tmp_path: Path
) -> None:
    said: list[str] = []
    session.on_trouble = session.sender.on_trouble = said.append
    server.over.set()
    (tmp_path / "checkpoints").write_text("a file where the folder shall be")
    session.start()
    offer(session)
    until(lambda: bool(said), 10)
    before = server.count(pb.HeartbeatRequest)
    until(lambda: server.count(pb.HeartbeatRequest) > before + 5, 10)


def test_a_torn_outbox_is_said_and_heartbeats_go_on(server: Busy, session: Session, tmp_path: Path) -> None:
    said: list[str] = []
    session.on_trouble = session.sender.on_trouble = said.append
    session.sender.report(pb.RoundReport(round=1))
    (tmp_path / "outbox.sqlite").write_bytes(bytes(range(256)) * 64)
    session.start()
    until(lambda: bool(said), 10)
    before = server.count(pb.HeartbeatRequest)
    until(lambda: server.count(pb.HeartbeatRequest) > before + 5, 10)


def test_a_fault_of_the_program_is_said_and_heartbeats_go_on(server: Busy, session: Session) -> None:
    said: list[str] = []
    session.on_trouble = said.append
    session.hearing.on_heard = lambda: {}[0]
    session.start()
    until(lambda: bool(said), 10)
    before = server.count(pb.HeartbeatRequest)
    until(lambda: server.count(pb.HeartbeatRequest) > before + 5, 10)
    assert said[0] == "A heartbeat failed: KeyError(0). The next one follows."


@dataclass
class Forgetful(Busy):
    """A heartbeat is answered once its member said goodbye: by then it is nobody's."""

    gone: threading.Event = field(default_factory=threading.Event)

    def Heartbeat(self, request: pb.HeartbeatRequest, context: grpc.ServicerContext) -> pb.HeartbeatResponse:  # noqa: N802
        self._note(request, context)
        self.gone.wait(20)
        refuse(context, grpc.StatusCode.UNAUTHENTICATED, pb.ErrorDetail(code="REFUSED", what="Not a member."))

    def Leave(self, request: pb.LeaveRequest, context: grpc.ServicerContext) -> pb.LeaveResponse:  # noqa: N802
        self._note(request, context)
        self.gone.set()
        return pb.LeaveResponse()


def test_nothing_is_sent_after_the_goodbye(server: Busy, session: Session) -> None:
    session.start()
    until(lambda: server.count(pb.HeartbeatRequest) > 1, 10)
    session.leave("it was enough")
    session.sender.report(pb.RoundReport(round=1))
    until(lambda: not any(thread.name == "sender" for thread in threading.enumerate()), 10)
    assert server.count(pb.ReportRoundsRequest) == 0
    assert not session.sender.flush(0.1), "it is kept for the next join"


class TestGoodbye:
    @pytest.fixture
    def server(self) -> Iterator[Forgetful]:
        found = Forgetful()
        yield found
        found.over.set()

    def test_who_said_goodbye_does_not_join_again(self, server: Forgetful, session: Session) -> None:
        session.start()
        until(lambda: server.count(pb.HeartbeatRequest) == 1, 10)
        session.leave("it was enough")
        until(lambda: not any(thread.name == "session" for thread in threading.enumerate()), 10)
        told = [type(item) for item in server.asked if isinstance(item, pb.JoinRequest | pb.LeaveRequest)]
        assert told == [pb.JoinRequest, pb.LeaveRequest]


@dataclass
class Undecided(Busy):
    """Does not take the report of round 1 when it first hears of it."""

    def ReportRounds(self, request: pb.ReportRoundsRequest, context: grpc.ServicerContext) -> pb.ReportRoundsResponse:  # noqa: N802
        later = [item.round == 1 and not self.over.is_set() for item in request.reports]
        self._note(request, context)
        self.over.set()
        taken = [item for item, waits in zip(request.reports, later, strict=True) if not waits]
        return pb.ReportRoundsResponse(
            receipts=[pb.Receipt(round=item.round, counted=True) for item in taken],
            signed=[pb.SignedReceipt(receipt=b"" if waits else b"receipt") for waits in later],
        )


@pytest.mark.parametrize("server", [Undecided()])
def test_a_report_that_is_not_taken_yet_is_sent_again_after_the_next_heartbeat(
    server: Undecided, session: Session, box: Outbox
) -> None:
    kept: list[pb.SignedReceipt] = []
    session.sender.on_signed = kept.extend
    session.sender.report(pb.RoundReport(round=1))
    session.start()
    until(lambda: not len(box), 10)
    asked = list(server.asked)
    first, second = (place for place, item in enumerate(asked) if isinstance(item, pb.ReportRoundsRequest))
    assert any(isinstance(item, pb.HeartbeatRequest) for item in asked[first + 1 : second])
    assert len(kept) == 1


@dataclass
class Unwilling(Undecided):
    """Takes the report of round 1 never."""

    def ReportRounds(self, request: pb.ReportRoundsRequest, context: grpc.ServicerContext) -> pb.ReportRoundsResponse:  # noqa: N802
        self.over.clear()
        return super().ReportRounds(request, context)


@pytest.mark.parametrize("server", [Unwilling()])
def test_it_holds_up_nothing_else(server: Unwilling, session: Session, box: Outbox) -> None:
    session.sender.report(pb.RoundReport(round=1))
    offer(session)
    session.sender.evaluated(pb.Evaluation(round=4))
    session.sender.report(pb.RoundReport(round=2))
    session.start()
    until(lambda: len(box) == 1, 10)
    said = [[one.round for one in item.reports] for item in server.asked if isinstance(item, pb.ReportRoundsRequest)]
    assert said[0] == [1, 2]
    assert said[1:] == [[1]] * (len(said) - 1)
    assert server.count(pb.HeartbeatRequest) >= len(said), "once after each heartbeat"
    assert pb.RoundReport.FromString(box.first(1)[0].body).round == 1
    began = time.monotonic()
    assert not session.sender.flush(60.0)
    assert time.monotonic() - began < 10, "it does not wait to the end for what the coordinator may never take"
    assert len(box) == 1


@pytest.mark.parametrize("server", [Undecided()])
def test_at_the_end_it_is_sent_again_at_once(server: Undecided, session: Session, box: Outbox) -> None:
    session.sender.report(pb.RoundReport(round=1))
    assert session.sender.flush(5.0)
    assert not len(box)
