"""What a peer's session hears in the answers to its heartbeats, from a coordinator's real service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from peer.outbox import Outbox
from peer.parting import Before
from peer.session import Session
from swarm.client import CoordinatorClient
from swarm.errors import HaltedError
from swarm.proto import coordinator_pb2 as pb
from tests.sessions import session_of
from tests.tiny_coordinator import TinyCoordinator


@dataclass
class Answering(TinyCoordinator):
    """Answers heartbeats as it is told."""

    answer: pb.HeartbeatResponse = field(default_factory=pb.HeartbeatResponse)
    beats: list[pb.HeartbeatRequest] = field(default_factory=list)

    def Heartbeat(self, request: pb.HeartbeatRequest, context: grpc.ServicerContext) -> pb.HeartbeatResponse:  # noqa: N802
        self.beats.append(request)
        return self.answer


@pytest.fixture
def server() -> Answering:
    return Answering()


@pytest.fixture
def session(server: Answering, client: CoordinatorClient, tmp_path: Path) -> Iterator[Session]:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.open()
    found = session_of(client, outbox, tmp_path)
    found.join()
    yield found
    outbox.close()


def test_a_state_that_is_not_the_runs_is_named_by_the_digest_that_was_said(server: Answering, session: Session) -> None:
    heard: list[tuple[str, str]] = []
    session.on_differs = lambda digest, why: heard.append((digest, why))
    session.doing(pb.HeartbeatRequest(phase="waiting", digest="abc", round=4))
    session._beat()
    assert heard == []
    server.answer.differs = "most hold another one"
    session._beat()
    assert heard == [("abc", "most hold another one")]
    assert server.beats[-1].digest == "abc"


def test_a_goodbye_of_the_process_before_is_said_once(
    server: Answering, client: CoordinatorClient, tmp_path: Path
) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.open()
    session = session_of(client, outbox, tmp_path, Before("cafe", left_in=27))
    session.join()
    session.renew("the training process ended unexpectedly")
    joins = [asked for asked in server.asked if isinstance(asked, pb.JoinRequest)]
    assert [(join.replaces, join.left_in) for join in joins] == [("cafe", 27), ("cafe", 0)]
    outbox.close()


def test_a_run_that_went_back_is_followed_once(server: Answering, session: Session) -> None:
    server.answer.lineage, server.answer.went_back = 2, "the run went back to round 4: most diverged"
    server.answer.differs = "of an earlier lineage"
    session._beat()
    assert session.overtaken == "the run went back to round 4: most diverged"
    session.follow(2)
    session._beat()
    assert session.overtaken == ""
    assert server.beats[-1].lineage == 2
    assert server.beats[-1].digest == ""


def test_a_run_that_was_stopped_ends_the_join(server: Answering, session: Session) -> None:
    server.answer.halted = "most diverged, and going back 3 times did not help"
    session._beat()
    assert isinstance(session.refused, HaltedError)
    assert "going back 3 times did not help" in str(session.refused)
