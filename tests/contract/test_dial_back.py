"""Whether a caller can be dialled, tried for real on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import pytest

from coordinator.dialback import DialBack
from peer import reach
from swarm.client import CoordinatorClient
from swarm.errors import UsageError
from swarm.proto import coordinator_pb2 as pb
from tests.tiny_coordinator import TinyCoordinator

NONCE = b"n" * 16


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def answering(words: bytes) -> Iterator[int]:
    """A port whose listener says `words` to one caller."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: _say(listener, words))
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def _say(listener: socket.socket, words: bytes) -> None:
    listener.settimeout(5)
    line, _ = listener.accept()
    with line:
        line.sendall(words)


def ask(port: int, dial_back: DialBack | None = None, nonce: bytes = NONCE) -> pb.DialBackResponse:
    request = pb.DialBackRequest(port=port, nonce=nonce)
    return (dial_back or DialBack()).answer("ipv4:127.0.0.1:5000", request)


def test_who_answers_with_the_nonce_is_reachable() -> None:
    with answering(NONCE) as port:
        answer = ask(port)
    assert (answer.reachable, answer.observed_host, answer.why) == (True, "127.0.0.1", "")
    assert answer.server_time > 1.7e9


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 200 OK\r\n\r\n", NONCE[:-1]])
def test_somebody_else_behind_the_address_does_not_count(words: bytes) -> None:
    with answering(words) as port:
        answer = ask(port)
    assert (answer.reachable, answer.why) == (False, "somebody else answered")


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    answer = ask(port)
    assert (answer.reachable, answer.why) == (False, "connection refused")


def test_somebody_silent_costs_two_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answer = ask(listener.getsockname()[1])
    assert answer.why == "no answer within 2 s"


@pytest.mark.parametrize(("port", "nonce"), [(22, NONCE), (0, NONCE), (1 << 16, NONCE), (4001, b""), (4001, b"n" * 17)])
def test_requests_that_no_peer_makes(port: int, nonce: bytes) -> None:
    with pytest.raises(UsageError):
        ask(port, nonce=nonce)


def test_an_address_may_ask_so_often_only() -> None:
    clock = Clock()
    dial_back = DialBack(clock)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert {ask(port, dial_back).why for _ in range(30)} == {"connection refused"}
    assert "30 times within 60 s" in ask(port, dial_back).why
    clock.now = 61.0
    assert ask(port, dial_back).why == "connection refused"


@dataclass
class Dialling(TinyCoordinator):
    """A coordinator that dials back."""

    dial_back: DialBack = field(default_factory=DialBack)

    def DialBack(self, request: pb.DialBackRequest, context: grpc.ServicerContext) -> pb.DialBackResponse:  # noqa: N802
        return self.dial_back.answer(context.peer(), request)


class TestAPeer:
    @pytest.fixture
    def server(self) -> TinyCoordinator:
        return Dialling()

    def test_is_dialled_at_the_port_that_it_wants(self, client: CoordinatorClient) -> None:
        first, answer = reach.ask(client)
        assert answer.reachable
        again, answer = reach.ask(client, [first])
        assert answer.reachable
        assert again == first

    def test_takes_another_port_when_that_one_is_taken(self, client: CoordinatorClient) -> None:
        with socket.create_server(("", 0)) as other:
            taken = other.getsockname()[1]
            port, answer = reach.ask(client, [taken])
        assert answer.reachable
        assert port != taken
