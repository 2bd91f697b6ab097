"""Ends that are asked for: nothing that the process is in the middle of may keep it from hearing of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

WAITS = """
import os, signal, threading
from swarm import lifetime
ended = threading.Event()
lifetime.when_told(ended.set, signal.SIGTERM, signal.SIGINT)
print("ready", flush=True)
while not ended.wait(1e-4):
    pass
os._exit(0)
"""
_LIFE = 20.0  # seconds; the longest


@pytest.mark.parametrize("attempt", range(5))
def test_a_burst_of_signals_is_heard_at_once(attempt: int) -> None:
    """As at a parent's end, which the kernel tells of once for each of its threads."""
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        until = time.monotonic() + _LIFE
        while process.poll() is None and time.monotonic() < until:
            for number in (signal.SIGTERM, signal.SIGINT):
                process.send_signal(number)
        code = process.poll()
        process.kill()
    assert code == 0
