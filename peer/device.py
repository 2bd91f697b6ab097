"""Which device the model is trained on, and why."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from swarm.errors import UsageError
from swarm.runspec import RunSpec


@dataclass(frozen=True)
class Hardware:
    """What torch can use on this machine."""

    cuda: tuple[str, ...] = ()  # names of the CUDA or ROCm devices, in torch's order
    rocm: bool = False
    mps: bool = False
    bf16: tuple[bool, ...] = ()  # whether each of them computes in bfloat16 itself
    flash: bool = False  # whether the package flash-attn is installed


@dataclass(frozen=True)
class Choice:
    """The device, and a sentence that names it and says why it was picked."""

    device: str
    why: str


def hardware() -> Hardware:
    """What torch finds here."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = tuple(torch.cuda.get_device_name(index) for index in range(count))
    return Hardware(
        names,
        torch.version.hip is not None,
        torch.backends.mps.is_available(),
        tuple(_computes_bf16(index) for index in range(count)),
        find_spec("flash_attn") is not None,
    )


def choose(name: str, found: Hardware) -> Choice:
    """The device for `name`: auto, cpu, cuda, cuda:N, rocm, rocm:N or mps.

    Raises UsageError when this machine has none such.
    """
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


@dataclass(frozen=True)
class Placement:
    """Where and how this peer computes. θ and updates are fp32 all the same."""

    device: torch.device
    compute: torch.dtype
    attention: str  # as transformers names it
    name: str  # of the device, for people
    why: str

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in `compute` inside."""
        if self.compute is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.compute)

    @property
    def half(self) -> bool:
        """Whether losses must be scaled, because small gradients would vanish in fp16."""
        return self.compute is torch.float16


def place(spec: RunSpec, name: str, found: Hardware) -> Placement:
    """How the run is computed on the device `name`, which is chosen as by `choose`.

    Raises UsageError when there is no such device, or the run does not take it.
    """
    choice = choose(name, found)
    device = torch.device(choice.device)
    if device.type == "cpu" and not spec.training.cpu_peers:
        raise UsageError(
            f"The run {spec.run.name} takes machines with a GPU only, and torch finds none that it can use here.",
            "If there is one, check its driver and that torch was installed for it; other runs take CPUs as well.",
        )
    compute = _compute(spec.training.precision, device, found)
    attention = _attention(spec, device, compute, found)
    why = f"{choice.why} Computing in {str(compute).removeprefix('torch.')}, attention by {attention}."
    return Placement(device, compute, attention, _name(device, found), why)


def _name(device: torch.device, found: Hardware) -> str:
    if device.type == "cuda":
        return f"{found.cuda[device.index or 0]} ({_toolkit(found)})"
    return {"mps": "Apple GPU (MPS)"}.get(device.type, "CPU")


def _compute(wanted: str, device: torch.device, found: Hardware) -> torch.dtype:
    bf16 = device.type == "cuda" and found.bf16[device.index or 0]
    if wanted == "auto":
        wanted = ("bf16" if bf16 else "fp16") if device.type == "cuda" else "fp32"
    if wanted == "bf16" and device.type == "cuda" and not bf16:
        raise UsageError(
            f"The run computes in bfloat16, which {found.cuda[device.index or 0]} does not do itself.",
            'Use another GPU; the maintainer can allow any with training.precision = "auto".',
        )
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]


def _attention(spec: RunSpec, device: torch.device, compute: torch.dtype, found: Hardware) -> str:
    """FlashAttention takes half precision only, and not several packed records in each of several samples."""
    usable = device.type == "cuda" and found.flash and compute is not torch.float32
    return "flash_attention_2" if usable and not spec.data.whole else "sdpa"


def _computes_bf16(index: int) -> bool:
    with torch.cuda.device(index):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def use_threads(count: int) -> None:
    """Let torch compute with `count` CPU threads; 0 leaves it to torch, which takes one per physical core."""
    if count:
        torch.set_num_threads(count)


def limit_memory(device: torch.device, part: float) -> None:
    """Take at most this part of a CUDA device's memory; torch runs out of it beyond, which peers survive."""
    if device.type == "cuda" and part < 1:
        torch.cuda.set_per_process_memory_fraction(part, device)


def _best(found: Hardware) -> Choice:
    if found.cuda:
        more = f" of {len(found.cuda)}; --device all takes each" if len(found.cuda) > 1 else ""
        return Choice("cuda:0", f"Training on {found.cuda[0]} ({_toolkit(found)}), the first GPU here{more}.")
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


def main() -> None:
    """Print the devices of this machine, one a line: for the supervisor, which holds no torch."""
    found = hardware()
    names = [f"cuda:{index}" for index in range(len(found.cuda))] or ["mps"] * found.mps or ["cpu"]
    print("\n".join(names))  # noqa: T201 - the output


if __name__ == "__main__":
    main()
