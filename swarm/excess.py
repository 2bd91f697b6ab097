"""What of a message is larger than any that is sent, looked at before work is done for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Excess(NamedTuple):
    """`field` is of `found` bytes, characters or items, of which there are `most`; an empty name means the message."""

    field: str
    found: int
    most: int


def excess(message: Any, largest: int, fields: Mapping[str, int]) -> Excess | None:
    """The first that is too large of a protobuf message of `largest` bytes at most, and of these of its fields."""
    if message.ByteSize() > largest:
        return Excess("", message.ByteSize(), largest)
    for name, most in fields.items():
        if (found := len(getattr(message, name))) > most:
            return Excess(name, found, most)
    return None
