"""How an update is written: the interface of a codec, tensor by tensor.

A payload is the encoded tensors of a model one behind the other, in the order of their names. Its size follows from the
shapes alone, so a receiver knows it before it takes memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from swarm.errors import CorruptError

Floats = NDArray[np.float32] | NDArray[np.float64]
Shapes = Mapping[str, tuple[int, ...]]


class Codec(Protocol):
    """One way of writing; tests/contract/test_update_codecs.py holds every one to what is written here."""

    dtype: type[np.floating]  # of the values that go in and come out
    sparse: bool  # whether a zero means that a value did not travel

    def size(self, count: int) -> int:
        """Bytes of `count` values of one tensor."""

    def encode(self, values: Floats) -> bytes:
        """`size` bytes for the values [count] of one tensor; what is not finite is not finite when it is decoded."""

    def decode(self, data: memoryview, count: int) -> Floats:
        """The values [count], the same bits on every machine. Raises CorruptError for nonsense."""


def payload_size(codec: Codec, shapes: Shapes) -> int:
    """Bytes of an update of tensors of these shapes."""
    return sum(codec.size(prod(shape)) for shape in shapes.values())


def encode(codec: Codec, update: Mapping[str, Floats]) -> bytes:
    """The payload of an update."""
    with np.errstate(all="ignore"):  # the receiver finds what is not finite
        return b"".join(
            codec.encode(np.ascontiguousarray(update[name], codec.dtype).reshape(-1)) for name in sorted(update)
        )


def decode(codec: Codec, payload: bytes, shapes: Shapes) -> Iterator[tuple[str, Floats]]:
    """The tensors of a payload in the order of their names, one at a time: all together they may be large.

    Raises CorruptError when the payload has another size, or holds values that are not finite.
    """
    if len(payload) != payload_size(codec, shapes):
        raise _nonsense(f"{len(payload)} bytes instead of {payload_size(codec, shapes)}")
    begin = 0
    for name in sorted(shapes):
        count = prod(shapes[name])
        end = begin + codec.size(count)
        with np.errstate(all="ignore"):
            values = codec.decode(memoryview(payload)[begin:end], count)
        if not np.isfinite(values).all():
            raise _nonsense(f"values of {name} are not finite")
        yield name, values.reshape(shapes[name])
        begin = end


def _nonsense(what: str) -> CorruptError:
    return CorruptError(f"An update cannot be read: {what}.", "It is left out of the round.")
