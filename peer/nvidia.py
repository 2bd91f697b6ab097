"""NVIDIA's cards, as their driver describes them; thin, and without torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NewType

import psutil
import pynvml

_USES_PERCENT = 10  # of the GPU's time: a desktop that draws its windows needs less, a game or a computation more
_LOAD_SECONDS = 2.0

Handle = NewType("Handle", object)
DriverError = pynvml.NVMLError


@dataclass(frozen=True)
class Card:
    """Bytes; watts that it may draw, 0 where the driver does not say."""

    name: str
    memory: int
    free: int
    watts: float


@dataclass(frozen=True)
class Heat:
    """Of a card now: °C, and watts that it draws."""

    name: str
    celsius: float
    watts: float


@contextmanager
def opened() -> Iterator[list[Handle]]:
    """The cards; none without NVIDIA's driver. Raises DriverError when it is there and does not answer."""
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        yield []
        return
    try:
        yield [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def version() -> str:
    """The driver's, while `opened`."""
    return str(pynvml.nvmlSystemGetDriverVersion())


def describe(card: Handle) -> Card:
    """What a run's needs are compared with."""
    memory, watts = pynvml.nvmlDeviceGetMemoryInfo(card), 0.0
    with suppress(DriverError):
        watts = pynvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1000
    return Card(str(pynvml.nvmlDeviceGetName(card)), int(memory.total), int(memory.free), watts)


def celsius(card: Handle) -> float:
    """Its temperature. Raises DriverError."""
    return float(pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU))


def heat(device: str) -> Heat | None:
    """How hot the card is that torch calls `device` ("cuda:1"; "auto" and "cuda" are the first); None without one."""
    kind, _, index = device.partition(":")
    with suppress(DriverError), opened() as cards:
        if kind in ("auto", "cuda") and int(index or 0) < len(cards):
            card = cards[int(index or 0)]
            return Heat(str(pynvml.nvmlDeviceGetName(card)), celsius(card), pynvml.nvmlDeviceGetPowerUsage(card) / 1000)
    return None


def users(card: Handle) -> set[int]:
    """Who computes or draws on the card now, by their load; where that is not told, who has it open to compute.

    Process ids; in a container they may be the host's. Raises DriverError.
    """
    try:
        load = pynvml.nvmlDeviceGetProcessUtilization(card, int((time.time() - _LOAD_SECONDS) * 1e6))
        return {sample.pid for sample in load if sample.smUtil >= _USES_PERCENT}
    except pynvml.NVMLError_NotFound:  # nobody does
        return set()
    except pynvml.NVMLError_NotSupported:
        return {process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(card)}


def name_of(pids: set[int]) -> str:
    """The name of a process that is here; none of those that are the host's."""
    for pid in sorted(pids):
        with suppress(psutil.Error):
            return psutil.Process(pid).name()
    return ""
