"""How fast this machine multiplies, measured in a process that ends at once: the caller holds no torch."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict

from peer.checkup import Speed
from swarm import lifetime

_SECONDS = 0.5
_WIDTH = {"cpu": 1024, "mps": 2048, "cuda": 4096}  # of the square matrices


def measure(device: str, seconds: float = 60.0) -> Speed:
    """What torch says of `device`; its trouble, when it does not start within so long."""
    command = [sys.executable, "-m", "peer.speed", device]
    try:
        asked = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=seconds, env=lifetime.child_environment()
        )
    except subprocess.TimeoutExpired:
        return Speed(device, 0.0, f"it did not start within {seconds:g} s")
    if asked.returncode:
        return Speed(device, 0.0, (asked.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    found = json.loads(asked.stdout.splitlines()[-1])
    return Speed(**found)


def main() -> None:
    """Print what is found as one line of JSON."""
    from peer.device import choose, hardware
    from swarm.errors import UsageError

    found = hardware()
    try:
        chosen = choose(sys.argv[1], found).device
        speed = Speed(_name(chosen, found.cuda), _operations(chosen))
    except UsageError as error:
        speed = Speed(sys.argv[1], 0.0, str(error))
    print(json.dumps(asdict(speed)))  # noqa: T201 - the output


def _name(device: str, cards: tuple[str, ...]) -> str:
    kind, _, index = device.partition(":")
    return cards[int(index or 0)] if kind == "cuda" else {"cpu": "the CPU", "mps": "the Apple GPU"}[kind]


def _operations(device: str) -> float:
    """Floating-point operations per second of a matrix product, in the precision that training takes there."""
    import torch

    kind = device.partition(":")[0]
    width, dtype = _WIDTH[kind], torch.float32 if kind == "cpu" else torch.float16
    matrix = torch.ones((width, width), dtype=dtype, device=device)
    float((matrix @ matrix)[0, 0])  # the first one also loads and tunes kernels
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        float((matrix @ matrix)[0, 0])  # waits for the device
        done += 1
    return done * 2.0 * width**3 / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
