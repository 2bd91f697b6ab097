"""A round's payloads become one update: the same for every peer that holds the same payloads. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from peer.codecs import Codec, Floats, Shapes, decode
from peer.combine import combined, weights
from peer.factors import lost, pairs
from peer.screening import Census
from swarm.errors import CorruptError

_TWICE = "another peer sent the same"


@dataclass(frozen=True)
class Contribution:
    """What a peer sent. Each of its samples weighs `share`, 0 to 1: on probation nothing."""

    samples: int
    payload: bytes
    share: float = 1.0


@dataclass(frozen=True)
class Merged:
    """The combined update by tensor, and what averaging lost of adapters (`peer.factors.lost`; 0 without adapters).

    `refused`: which contributions were left out, by their place, and why. Those that weigh nothing are left out, too.
    """

    update: dict[str, Floats]
    lost: float
    refused: dict[int, str] = field(default_factory=dict)


class _UnreadableError(Exception):
    def __init__(self, place: int, why: str) -> None:
        super().__init__(why)
        self.place = place


def merge(codec: Codec, contributions: Sequence[Contribution], shapes: Shapes, clip: float) -> Merged:
    """What cannot be read, or looks like no honest update beside the others, is left out, by every peer alike.

    Raises CorruptError when nothing is left.
    """
    refused = _twice(contributions)
    while good := {place: item for place, item in enumerate(contributions) if place not in refused}:
        try:
            weighed, found = _screened(codec, good, shapes)
        except _UnreadableError as error:  # rare, so what was looked at until then is looked at again
            refused[error.place] = str(error)
        else:
            if kept := {place: item for place, item in weighed.items() if item.share}:
                return replace(_merged(codec, kept, shapes, clip), refused=refused | found)
            break
    raise CorruptError("No update of this round can be used.", "The round is tried again.")


def understood(codec: Codec, payload: bytes, shapes: Shapes) -> dict[str, Floats]:
    """What the swarm takes from a payload. Raises CorruptError."""
    return dict(decode(codec, payload, shapes))


def _twice(contributions: Sequence[Contribution]) -> dict[int, str]:
    """The same payload counts once: a copy adds nothing, and is that of who weighs less. And nothing counts without
    samples.
    """
    seen: set[bytes] = set()
    refused = {}
    for place, item in sorted(enumerate(contributions), key=lambda pair: -pair[1].share):
        if not item.samples or item.payload in seen:
            refused[place] = _TWICE if item.samples else "it is of no samples"
        seen.add(item.payload)
    return refused


def _screened(
    codec: Codec, good: dict[int, Contribution], shapes: Shapes
) -> tuple[dict[int, Contribution], dict[int, str]]:
    """Them with what their samples weigh beside the others' updates, and who is left out."""
    places, census = list(good), Census([item.share > 0 for item in good.values()], codec.sparse)
    for row in _rows(codec, good, shapes):
        census.add([values for _, values in row])
    trusted, refused = census.judged()
    shares = {place: good[place].share * weight for place, weight in zip(places, trusted, strict=True)}
    weighed = {place: replace(good[place], share=share) for place, share in shares.items()}
    return weighed, {places[index]: why for index, why in refused.items()}


def _merged(codec: Codec, good: dict[int, Contribution], shapes: Shapes, clip: float) -> Merged:
    """Tensor by tensor: all updates together may be large. Those of adapters are small and kept."""
    items, adapters = list(good.values()), bool(pairs(shapes))
    parts = weights([item.samples for item in items], [item.share for item in items])
    found: dict[str, Floats] = {}
    kept: list[dict[str, Floats]] = [{} for _ in good]
    for row in _rows(codec, good, shapes):
        name, updates = row[0][0], [values for _, values in row]
        found[name] = combined(updates, parts, clip, codec.sparse).astype(codec.dtype)
        if adapters:
            for own, values in zip(kept, updates, strict=True):
                own[name] = values
    return Merged(found, lost(kept, parts) if adapters else 0.0)


def _rows(codec: Codec, good: dict[int, Contribution], shapes: Shapes) -> Iterator[tuple[tuple[str, Floats], ...]]:
    """Tensor by tensor, everybody's."""
    return zip(*(_tensors(codec, place, item, shapes) for place, item in good.items()), strict=True)


def _tensors(codec: Codec, place: int, item: Contribution, shapes: Shapes) -> Iterator[tuple[str, Floats]]:
    try:
        yield from decode(codec, item.payload, shapes)
    except CorruptError as error:
        raise _UnreadableError(place, error.what) from error
