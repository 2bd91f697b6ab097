"""Calls that say nothing, or do not take what they asked for: they keep nobody else from being answered.

On a real server, over TLS, by strangers and by members. What is opened stays open until the test ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from coordinator import gate, patience, rules
from coordinator.server import Coordinator
from swarm import tls
from swarm.client import CoordinatorClient
from swarm.identity import SERVER_NAME, Identity
from swarm.invite import Invite
from swarm.maintaining import MaintainerClient
from swarm.proto import coordinator_pb2 as pb
from swarm.version import PROTOCOL_VERSION
from tests.small_run import coordinating

SERVICE = f"/{rules.SERVICE.full_name}/"
MANY = 200  # more than there are threads
PROMPT = 1.0  # seconds


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    with coordinating(tmp_path / "run") as found:
        yield found


class Silent:
    """Somebody with a line to the coordinator; `token` empty: a stranger."""

    def __init__(self, line: grpc.Channel, token: str, ended: threading.Event) -> None:
        self._line = line
        self._ended = ended
        said = (("swarm-protocol", str(PROTOCOL_VERSION)), ("swarm-session", ""))
        self._metadata = (*said, ("authorization", f"Bearer {token}")) if token else said

    def opens(self, method: str, *said: bytes) -> Any:
        """A call that sends these messages and then nothing, and does not end."""

        def messages() -> Iterator[bytes]:
            yield from said
            self._ended.wait(60)

        return self._line.stream_unary(method, request_serializer=bytes).future(messages(), metadata=self._metadata)

    def asks(self, method: str, said: bytes) -> Any:
        """A call of which no answer is taken."""
        return self._line.unary_stream(method, request_serializer=bytes)(said, metadata=self._metadata)


@contextmanager
def silent(invite: Invite, token: str) -> Iterator[Silent]:
    ended, trusted = threading.Event(), grpc.ssl_channel_credentials(tls.certificate(invite, 5).encode())
    # No answer is taken ahead of who reads it.
    options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.http2.bdp_probe", 0)]
    with grpc.secure_channel(invite.address, trusted, options) as line:
        try:
            yield Silent(line, token, ended)
        finally:
            ended.set()


def seconds(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


@pytest.mark.parametrize("method", [f"{SERVICE}GetStatus", f"{SERVICE}Upload", "/grpc.health.v1.Health/Check"])
def test_a_stranger_who_sends_nothing_holds_no_thread(coordinator: Coordinator, method: str) -> None:
    with CoordinatorClient.connect(coordinator.invite) as honest, silent(coordinator.invite, "") as stranger:
        calls = [stranger.opens(method) for _ in range(MANY)]
        assert seconds(honest.status) < PROMPT
        codes = {call.exception(timeout=10).code() for call in calls}
    assert codes == {grpc.StatusCode.UNAUTHENTICATED}, "each was refused although it sent no message"


def test_nothing_that_waits_for_ever_is_served_beside(coordinator: Coordinator) -> None:
    with silent(coordinator.invite, coordinator.invite.token) as caller, pytest.raises(grpc.RpcError) as caught:
        next(caller.asks("/grpc.health.v1.Health/Watch", b""))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_one_invite_cannot_hold_all_threads_by_sending_nothing(coordinator: Coordinator) -> None:
    own = coordinator.own_invite
    with CoordinatorClient.connect(own) as honest, silent(coordinator.invite, coordinator.invite.token) as member:
        calls = [member.opens(f"{SERVICE}GetStatus") for _ in range(MANY)]
        assert seconds(honest.status) < PROMPT
        time.sleep(0.5)
        assert sum(not call.done() for call in calls) <= gate._SILENT
        assert seconds(honest.status) < PROMPT


def test_a_crowd_of_invites_cannot_either(coordinator: Coordinator) -> None:
    found = coordinator.invite
    with MaintainerClient.connect(coordinator.own_invite) as honest, ExitStack() as lines:
        for number in range(4):
            token = honest.make_invite("volunteer", 1.0, str(number)).token
            member = lines.enter_context(silent(found, token))
            for _ in range(MANY):
                member.opens(f"{SERVICE}GetStatus")
        assert seconds(honest.invites) < 4 * PROMPT


def test_what_stays_silent_is_ended(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 1.0)
    who = Identity.from_seed(b"a" * 32)
    found = coordinator.invite
    with CoordinatorClient.connect(found) as client, silent(found, found.token) as one:
        client.join(who, "anna")
        calls = [
            one.opens(f"{SERVICE}GetStatus"),
            one.opens(f"{SERVICE}SendProbe"),
            one.opens(f"{SERVICE}SendProbe", pb.Chunk(data=b"x").SerializeToString()),
        ]
        for call in calls:
            assert isinstance(call.exception(timeout=8), grpc.RpcError)


def test_an_answer_that_nobody_takes_is_ended(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 1.0)
    found = coordinator.invite
    with silent(found, found.token) as member, CoordinatorClient.connect(coordinator.own_invite) as honest:
        calls = [member.asks(f"{SERVICE}ReceiveProbe", b"") for _ in range(gate._FILES)]
        time.sleep(0.5)
        assert seconds(honest.status) < PROMPT
        time.sleep(2.5)
        for call in calls:  # of each something had been sent before it was ended
            with pytest.raises(grpc.RpcError):
                list(call)


def test_no_message_is_parsed_before_its_caller_is_known(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    excess = rules.Oversized

    def noted(size: int) -> rules.Oversized:
        parsed.append(size)
        return excess(size)

    monkeypatch.setattr(rules, "Oversized", noted)
    large = bytes(600 << 10)
    with silent(coordinator.invite, "") as stranger, silent(coordinator.invite, coordinator.invite.token) as member:
        refused = stranger.opens(f"{SERVICE}GetStatus", large).exception(timeout=10)
        assert refused.code() is grpc.StatusCode.UNAUTHENTICATED
        assert not parsed
        told = member.opens(f"{SERVICE}GetStatus", large).exception(timeout=10)
        assert told.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert parsed == [len(large)]
