"""Which device the model is trained on, and why."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from swarm.errors import UsageError


@dataclass(frozen=True)
class Hardware:
    """What torch can use on this machine."""

    cuda: tuple[str, ...] = ()  # names of the CUDA or ROCm devices, in torch's order
    rocm: bool = False
    mps: bool = False


@dataclass(frozen=True)
class Choice:
    """The device, and a sentence that names it and says why it was picked."""

    device: str
    why: str


def pick(name: str) -> Choice:
    """The device for `name`: auto, cpu, cuda, cuda:N, rocm, rocm:N or mps.

    Raises UsageError when this machine has none such.
    """
    return choose(name, hardware())


def hardware() -> Hardware:
    """What torch finds here."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = tuple(torch.cuda.get_device_name(index) for index in range(count))
    return Hardware(names, torch.version.hip is not None, torch.backends.mps.is_available())


def choose(name: str, found: Hardware) -> Choice:
    """`pick` on given hardware."""
    if name == "auto":
        return _best(found)
    kind, _, index = name.partition(":")
    if kind in ("cuda", "rocm") and (not index or index.isdecimal()):
        return _graphics(name, int(index or 0), found)
    if name == "mps" and found.mps:
        return Choice("mps", "Training on the GPU of this Mac, as asked.")
    if name == "cpu":
        return Choice("cpu", "Training on the CPU, as asked.")
    raise _none(name, found)


def use_threads(count: int) -> None:
    """Let torch compute with `count` CPU threads; 0 leaves it to torch, which takes one per physical core."""
    if count:
        torch.set_num_threads(count)


def _best(found: Hardware) -> Choice:
    if found.cuda:
        return Choice("cuda:0", f"Training on {found.cuda[0]} ({_toolkit(found)}), the first GPU here.")
    if found.mps:
        return Choice("mps", "Training on the GPU of this Mac.")
    return Choice("cpu", "Training on the CPU, because torch finds no GPU that it can use.")


def _graphics(name: str, index: int, found: Hardware) -> Choice:
    if index >= len(found.cuda):
        raise _none(name, found)
    return Choice(f"cuda:{index}", f"Training on {found.cuda[index]} ({_toolkit(found)}), as asked.")


def _toolkit(found: Hardware) -> str:
    return "ROCm" if found.rocm else "CUDA"


def _none(name: str, found: Hardware) -> UsageError:
    graphics = [f"cuda:{index}" for index in range(len(found.cuda))] + ["mps"] * found.mps
    return UsageError(
        f"There is no device {name!r} that torch {torch.__version__} can use on this machine.",
        f"Choose one of {', '.join(['auto', 'cpu', *graphics])}; for another GPU, check driver and torch build.",
    )
