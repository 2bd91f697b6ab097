"""A round's payloads become one update: the same for every peer that holds the same payloads. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


@dataclass(frozen=True)
class Merged:
    """The combined update by tensor, and what averaging lost of adapters (`peer.factors.lost`; 0 without adapters)."""

    update: dict[str, Floats]
    lost: float


class _UnreadableError(Exception):
    def __init__(self, item: Contribution) -> None:
        super().__init__()
        self.item = item


def merge(codec: Codec, contributions: Sequence[Contribution], shapes: Shapes, clip: float) -> Merged:
    """Payloads that cannot be read are left out, by every peer alike. Raises CorruptError when none can be read."""
    good = [item for item in contributions if item.samples]
    while good:
        try:
            return _merged(codec, good, shapes, clip)
        except _UnreadableError as error:  # rare, so what was combined until then is done again
            good.remove(error.item)
    raise CorruptError("No update of this round can be read.", "The round is tried again.")


def understood(codec: Codec, payload: bytes, shapes: Shapes) -> dict[str, Floats]:
    """What the swarm takes from a payload. Raises CorruptError."""
    return dict(decode(codec, payload, shapes))


def _merged(codec: Codec, good: Sequence[Contribution], shapes: Shapes, clip: float) -> Merged:
    """Tensor by tensor: all updates together may be large. Those of adapters are small and kept."""
    parts, adapters = weights([item.samples for item in good]), bool(pairs(shapes))
    found: dict[str, Floats] = {}
    kept: list[dict[str, Floats]] = [{} for _ in good]
    for row in zip(*(_tensors(codec, item, shapes) for item in good), strict=True):
        name, updates = row[0][0], [values for _, values in row]
        found[name] = combined(updates, parts, clip, codec.sparse).astype(codec.dtype)
        if adapters:
            for own, values in zip(kept, updates, strict=True):
                own[name] = values
    return Merged(found, lost(kept, parts) if adapters else 0.0)


def _tensors(codec: Codec, item: Contribution, shapes: Shapes) -> Iterator[tuple[str, Floats]]:
    try:
        yield from decode(codec, item.payload, shapes)
    except CorruptError as error:
        raise _UnreadableError(item) from error
