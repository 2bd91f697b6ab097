"""The swarm's bootstrap node as the process that the coordinator starts."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import Program

pytestmark = [pytest.mark.processes, pytest.mark.timeout(60)]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Program]:
    program = Program(
        [sys.executable, "-m", "peer.exchange.bootstrap", "--data-dir", str(tmp_path), "--host", "127.0.0.1"]
    )
    try:
        program.wait_for(lambda event: "maddrs" in event)
        yield program
        if program.process.poll() is None:
            program.process.terminate()
            assert program.finish(10) == 0
    finally:
        program.clean_up()


def test_it_starts_what_the_network_needs_and_nothing_more(node: Program) -> None:
    """Without the guard, torch starts a keeper of shared memory, which outlives it."""
    started = [process.name() for process in psutil.Process(node.process.pid).children(recursive=True)]
    assert "p2pd" in started
    assert "torch_shm_manager" not in started
    assert not node.stderr


def test_it_ends_at_a_burst_of_signals_and_leaves_nothing(node: Program) -> None:
    for _ in range(100):
        node.process.send_signal(signal.SIGTERM)
        node.process.send_signal(signal.SIGINT)
    assert node.finish(10) == 0, node.stderr
