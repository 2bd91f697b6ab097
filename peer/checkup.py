"""Whether a machine and its line fit a run: check by check, each with its remedy. Pure: facts in, verdicts out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peer.machine import Machine
from peer.needs import Needs
from peer.nvidia import Card
from peer.reach import Reach
from swarm.checks import Check, Level
from swarm.units import size

_SPARE = 1.1  # a need is an estimate
_CLOCK_FINE, _CLOCK_MOST = 2.0, 5.0  # seconds; members' records live for ten seconds
_LATENCY_FINE = 0.3  # seconds
_UPLOAD_FINE = 1e6 / 8  # bytes per second
_MATRIX_PART = 0.35  # of the speed of a matrix product, while a model trains: a guess for the estimate
_RELAY_REMEDY = "Nothing need be done. To be reached directly, forward a TCP port of the router to this machine."


@dataclass(frozen=True)
class Measured:
    """What was measured between this machine and the coordinator. Seconds; bytes per second, 0 is not measured."""

    round_trip: float
    clock_ahead: float
    up: float
    down: float


@dataclass(frozen=True)
class Speed:
    """What torch finds in the worker's place: the device that it would take, and how fast that multiplies."""

    device: str
    operations: float  # floating-point, per second
    trouble: str = ""


def of_machine(machine: Machine, needs: Needs, devices: Sequence[str]) -> Iterator[Check]:
    """What can be said before anything is fetched. `devices` has one entry for each worker: auto, cpu, cuda:1, …"""
    yield _torch(machine, devices)
    for device in devices:
        yield _device(machine, needs, device)
    if machine.locked:
        says = f"{machine.locked} cannot be written"
        yield Check("folder", Level.FAILED, says, "Choose another folder, with --data-dir or $SWARM_HOME.")
    yield _room("disk", machine.disk_free, needs.disk, "free", "Free some space, or choose a folder with --data-dir.")
    wanted = sum(needs.ram + (0 if _card(machine, device) else needs.device) for device in devices)
    yield _room("memory", machine.ram_free, wanted, "of RAM free", "Close other programs.")


def of_line(line: Measured, reach: Reach) -> Iterator[Check]:
    """What the way to the coordinator and the others is like."""
    yield _latency(line.round_trip)
    yield of_clock(line.clock_ahead)
    level = Level.WARNING if reach.relayed else Level.OK
    yield Check("network", level, reach.why, _RELAY_REMEDY if reach.relayed else "")
    yield _bandwidth(line)


def of_clock(ahead: float) -> Check:
    """`ahead` is this machine's clock against the coordinator's, seconds."""
    if abs(ahead) < _CLOCK_FINE:
        return Check("clock", Level.OK, "agrees with the coordinator's")
    says = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the coordinator's"
    level = Level.FAILED if abs(ahead) > _CLOCK_MOST else Level.WARNING
    meaning = "; members with another time do not see each other" if level is Level.FAILED else ""
    return Check(
        "clock", level, says + meaning, "Let the system set it by the network's time (timedatectl set-ntp true)."
    )


def of_speed(speed: Speed, needs: Needs) -> Check:
    """An estimate of what this machine will do."""
    if speed.trouble:
        return Check("speed", Level.FAILED, f"torch does not work here: {speed.trouble}", "Install garage-swarm again.")
    hourly = 3600 * _MATRIX_PART * speed.operations / max(needs.operations, 1.0)
    return Check("speed", Level.OK, f"about {_rounded(hourly)} samples per hour on {speed.device}")


def _torch(machine: Machine, devices: Sequence[str]) -> Check:
    if not machine.torch:
        return Check("torch", Level.FAILED, "torch is not installed", "Install garage-swarm again.")
    says = f"torch {machine.torch}" + (f", NVIDIA driver {machine.driver}" if machine.driver else "")
    if machine.trouble:
        return Check("torch", Level.WARNING, f"{says}; NVIDIA's driver does not answer: {machine.trouble}", _DRIVER)
    if machine.cards and machine.torch.endswith("+cpu") and set(devices) != {"cpu"}:
        remedy = "Install torch for CUDA (see the README), or train on the CPU with --device cpu."
        return Check("torch", Level.FAILED, f"{says}; this torch was built for CPUs and cannot use the GPU", remedy)
    return Check("torch", Level.OK, says)


_DRIVER = "Restart the machine, or install the driver again."


def _device(machine: Machine, needs: Needs, device: str) -> Check:
    card = _card(machine, device)
    if card is not None:
        remedy = "Close programs that use the GPU, or join a run with a smaller model."
        return _room(f"GPU {card.name}", card.free, needs.device, "of its memory free", remedy)
    if needs.gpu:
        remedy = "Choose another run; or if there is a GPU, check its driver and the build of torch."
        return Check("device", Level.FAILED, "the run takes machines with a GPU only, and none is found here", remedy)
    return Check("device", Level.OK, f"the CPU, {machine.cores} cores")


def _card(machine: Machine, device: str) -> Card | None:
    """The NVIDIA card that `device` means, if it is one."""
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cuda") or machine.torch.endswith("+cpu"):
        return None
    number = int(index) if index.isdecimal() else 0
    return machine.cards[number] if number < len(machine.cards) else None


def _room(name: str, there: int, wanted: int, free: str, remedy: str) -> Check:
    says = f"{size(there)} {free}, about {size(wanted)} needed"
    if there < wanted:
        return Check(name, Level.FAILED, says, remedy)
    return Check(name, Level.WARNING if there < _SPARE * wanted else Level.OK, says)


def _latency(seconds: float) -> Check:
    says = f"answers within {seconds * 1000:.0f} ms"
    if seconds < _LATENCY_FINE:
        return Check("coordinator", Level.OK, says)
    return Check("coordinator", Level.WARNING, says, "Look whether something else fills this machine's line.")


def _bandwidth(line: Measured) -> Check:
    if not line.up:
        return Check(
            "line", Level.WARNING, "its speed was measured too often from this address", "Try again in a minute."
        )
    says = f"{_megabits(line.up)} Mbit/s up, {_megabits(line.down)} Mbit/s down, to the coordinator"
    if line.up < _UPLOAD_FINE:
        return Check("line", Level.WARNING, says, "Updates will be slow. Use a cable, or stop other uploads.")
    return Check("line", Level.OK, says)


def _megabits(bytes_per_second: float) -> str:
    rate = bytes_per_second * 8e-6
    return f"{rate:.3g}" if rate < 100 else f"{rate:,.0f}"


def _rounded(number: float) -> str:
    """With two digits: more would be a lie."""
    digits = max(len(str(int(number))) - 2, 0)
    return f"{round(number, -digits):,.0f}"
