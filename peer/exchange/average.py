"""What an exchange gave one member, and how members compare it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Average:
    """The averaged tensors with their digest and global L2 norm; `broken` says why it must not be used."""

    mean: dict[str, Tensor] = field(default_factory=dict)
    digest: str = ""
    norm: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    broken: str = ""


def measure(mean: dict[str, Tensor], bytes_sent: int = 0, bytes_received: int = 0) -> Average:
    """Digest (SHA-256 of the values in the order of their names) and norm of CPU tensors.

    The norm is a sum, which differs between machines in its last bits; the leader's is used by all.
    """
    digest = hashlib.sha256()
    squares = 0.0
    for name in sorted(mean):
        digest.update(mean[name].contiguous().numpy().data)
        squares += float(mean[name].double().square().sum())
    broken = "" if math.isfinite(squares) else "the average is not finite"
    return Average(mean, digest.hexdigest(), math.sqrt(squares), bytes_sent, bytes_received, broken)
