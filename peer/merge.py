"""A round's payloads become one update: the same for every peer that holds the same payloads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peer.codecs import Codec, Floats, Shapes, decode
from peer.combine import combined, weights
from peer.factors import lost, pairs
from swarm.errors import CorruptError


@dataclass(frozen=True)
class Contribution:
    """What a peer sent."""

    samples: int
    payload: bytes


def merge(codec: Codec, contributions: Sequence[Contribution], shapes: Shapes, clip: float) -> dict[str, Floats]:
    """The combined update by tensor. Payloads that cannot be read are left out, by every peer alike.

    Raises CorruptError when none can be read.
    """
    good = [item for item in contributions if _readable(codec, item, shapes)]
    if not good:
        raise CorruptError("No update of this round can be read.", "The round is tried again.")
    parts = weights([item.samples for item in good])
    found: dict[str, Floats] = {}
    for row in zip(*(decode(codec, item.payload, shapes) for item in good), strict=True):
        name, updates = row[0][0], [values for _, values in row]
        found[name] = combined(updates, parts, clip, codec.sparse).astype(codec.dtype)
    return found


def lost_of_adapters(codec: Codec, contributions: Sequence[Contribution], shapes: Shapes) -> float:
    """`peer.factors.lost` of the payloads that can be read; 0 without adapters."""
    if not pairs(shapes):
        return 0.0
    good = [item for item in contributions if _readable(codec, item, shapes)]
    updates = [understood(codec, item.payload, shapes) for item in good]  # adapters are small
    return lost(updates, weights([item.samples for item in good]))


def understood(codec: Codec, payload: bytes, shapes: Shapes) -> dict[str, Floats]:
    """What the swarm takes from a payload. Raises CorruptError."""
    return dict(decode(codec, payload, shapes))


def _readable(codec: Codec, item: Contribution, shapes: Shapes) -> bool:
    if not item.samples:
        return False
    try:
        for _ in decode(codec, item.payload, shapes):
            pass
    except CorruptError:
        return False
    return True
