"""Who uses the GPU. The driver's answers are made up, because no test machine has its cards; all else is real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pynvml
import pytest

from peer.sensors import ThisMachine
from swarm.neighbour import When

HOST_PID = 2**22 + 7  # higher than any process id here can be


class Driver:
    """One card: percent of its time by process, or why that is not told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.load: dict[int, int] = {}
        self.refuses = 0
        self.computing: list[int] = []
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 1)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetTemperature", lambda card, kind: 71)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetProcessUtilization", self.utilization)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", self.processes)

    def utilization(self, _card: int, _since: int) -> list[SimpleNamespace]:
        if self.refuses:
            raise pynvml.NVMLError(self.refuses)
        return [SimpleNamespace(pid=pid, smUtil=percent) for pid, percent in self.load.items()]

    def processes(self, _card: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid) for pid in self.computing]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(monkeypatch)


@pytest.fixture
def other() -> int:
    """A process that is not this one's: what started it."""
    return os.getppid()


@pytest.fixture
def worker() -> Iterator[int]:
    """A process that this one started."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def others() -> str:
    return ThisMachine().look(When()).others


def test_a_program_that_loads_the_card_is_named(driver: Driver, other: int, worker: int) -> None:
    driver.load = {worker: 90, os.getpid(): 50, other: 35}
    assert others() == psutil.Process(other).name()
    assert ThisMachine().look(When()).celsius == 71


def test_the_own_worker_is_nobody_else(driver: Driver, worker: int) -> None:
    driver.load = {worker: 90}
    assert others() == ""


def test_a_desktop_that_draws_its_windows_disturbs_nobody(driver: Driver, other: int) -> None:
    driver.load = {other: 4}
    assert others() == ""


def test_ids_of_a_containers_host_are_nobody(driver: Driver) -> None:
    driver.load = {HOST_PID: 99, os.getpid(): 50}
    assert others() == ""


def test_where_the_load_is_not_told_who_computes_counts(driver: Driver, other: int) -> None:
    driver.refuses, driver.computing = pynvml.NVML_ERROR_NOT_SUPPORTED, [other]
    assert others() == psutil.Process(other).name()
    driver.refuses = pynvml.NVML_ERROR_NOT_FOUND
    assert others() == ""


def test_a_driver_that_says_nothing_is_no_reason_to_pause(driver: Driver, other: int) -> None:
    driver.refuses, driver.computing = pynvml.NVML_ERROR_NO_PERMISSION, [other]
    assert others() == ""
