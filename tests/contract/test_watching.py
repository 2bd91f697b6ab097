"""A real coordinator that is watched: its calls are counted, a scrape holds up none of them, a port may be taken."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.server import Coordinator
from swarm.client import CoordinatorClient
from swarm.errors import NotFoundError, PortInUseError
from swarm.metrics import Address
from tests.small_run import coordinating

HERE = Address("127.0.0.1", 0)


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    with coordinating(tmp_path / "run", metrics=HERE) as found:
        yield found


def scraped(coordinator: Coordinator) -> dict[str, float]:
    with urllib.request.urlopen(str(coordinator.metrics), timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_calls_are_counted_by_method_and_outcome(coordinator: Coordinator, tmp_path: Path) -> None:
    with CoordinatorClient.connect(coordinator.invite) as client:
        client.status()
        client.status()
        with pytest.raises(NotFoundError):
            client.download("f" * 64, 100, tmp_path / "none")
    told = scraped(coordinator)
    assert told['garage_swarm_grpc_calls_total{code="OK",method="GetStatus"}'] == 2
    assert told['garage_swarm_grpc_calls_total{code="NOT_FOUND",method="Download"}'] >= 1
    assert told['garage_swarm_grpc_call_seconds_count{method="GetStatus"}'] == 2
    assert 0 < told['garage_swarm_grpc_call_seconds_sum{method="GetStatus"}'] < 2


def test_readers_that_do_not_read_hold_up_no_call(coordinator: Coordinator) -> None:
    assert coordinator.metrics
    where = (coordinator.metrics.host, coordinator.metrics.port)
    idle = [socket.create_connection(where) for _ in range(8)]
    for one in idle[:4]:
        one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        with CoordinatorClient.connect(coordinator.invite) as client:
            began = time.monotonic()
            for _ in range(20):
                client.status()
            assert time.monotonic() - began < 10
        assert scraped(coordinator)["garage_swarm_round"] == 0
    finally:
        for one in idle:
            one.close()


def test_nothing_is_left_when_it_stops(tmp_path: Path) -> None:
    with coordinating(tmp_path / "run", metrics=HERE) as coordinator:
        where = coordinator.metrics
        scraped(coordinator)
    assert where
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(str(where), timeout=5)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tracker-")]


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = Address("127.0.0.1", other.getsockname()[1])
        with (
            pytest.raises(PortInUseError, match="Metrics cannot be served"),
            coordinating(tmp_path / "r", metrics=taken),
        ):
            pass


def test_without_it_nothing_listens(tmp_path: Path) -> None:
    with coordinating(tmp_path / "run") as coordinator:
        assert coordinator.metrics is None
