"""Messages that nobody would send: bytes that are nearly right, and protobuf messages that are right but for a value.

Half of what is tried is changed byte by byte (bits, lengths, truncation, splices with other seeds), the other half
field by field along the message's own descriptor, so that it gets past the parser: extreme numbers, NaN, names that
lead elsewhere, fields that come a hundred times, messages within messages.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Kind
from google.protobuf.message import DecodeError, Message

INTEGERS = (0, 1, 2, 7, 255, 1 << 16, (1 << 31) - 1, (1 << 32) - 1, 1 << 32, 1 << 62, (1 << 63) - 1, (1 << 64) - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-320, 1e300, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "", ".", "..", "../../x", "/etc/passwd", "a/b", "a\0b", "\x1b[2J", "con", "~", "x" * 300, "é" * 200, "\u202e",
    "0" * 64, "a" * 64, "A" * 64, "-1", "9" * 5000, "[" * 3000, '{"a":' * 2000, "swarm://h:1/r?fp=", "nan", "1e999",
)  # fmt: skip
WORDS = (*(text.encode() for text in TEXTS), b"\xff" * 8, b"\0" * 32, b"\x80" * 10, b"\xff" * 9 + b"\x01", b"\xc1")
_UNSIGNED = {Kind.TYPE_UINT32: 32, Kind.TYPE_UINT64: 64}
_MANY = (0, 1, 2, 33, 300)  # times that a repeated field comes
_VERY_MANY = 20_000  # seldom
_MUCH = 4 << 20  # bytes of them at most: what is made here counts as memory that the decoder took

Mutator = Callable[[random.Random], bytes]


def mutated(rng: random.Random, seeds: Sequence[bytes], message: type[Message] | None, largest: int) -> bytes:
    """The next input, of at most `largest` bytes."""
    data = rng.choice(seeds)
    if message is not None and rng.random() < 0.6:
        data = _of_fields(rng, data, message)
    if message is None or rng.random() < 0.4:
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            data = rng.choice(_BYTES)(rng, data, seeds)
    return data[:largest]


# ── bytes ───────────────────────────────────────────────────────────────────────────────────────


def _flip(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data or b"\0")
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _byte(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data or b"\0")
    changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def _cut(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _without(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = _span(rng, data)
    return data[:begin] + data[end:]


def _again(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = _span(rng, data)
    return data[:end] + data[begin:end] * rng.choice((1, 2, 30)) + data[end:]


def _spliced(rng: random.Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = rng.choice(seeds)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _word(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = _span(rng, data)
    return data[:begin] + rng.choice(WORDS) + data[rng.choice((begin, end)) :]


def _number(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """A length or count somewhere becomes an extreme one, as varint, as fixed width, or in decimal digits."""
    at, value = rng.randrange(len(data) + 1), rng.choice(INTEGERS)
    written = rng.choice((_varint(value), value.to_bytes(8, "little"), value.to_bytes(8, "big"), str(value).encode()))
    return data[:at] + written + data[at + rng.choice((0, 1, len(written))) :]


_BYTES = (_flip, _byte, _cut, _without, _again, _spliced, _word, _number)


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    begin = rng.randrange(len(data) + 1)
    return begin, min(len(data), begin + rng.choice((1, 2, 4, 8, 32, 256)))


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


# ── fields ──────────────────────────────────────────────────────────────────────────────────────


def _of_fields(rng: random.Random, data: bytes, message: type[Message]) -> bytes:
    made = message()
    try:
        made.ParseFromString(data)
    except DecodeError:
        return data
    for _ in range(rng.choice((1, 1, 2, 3))):
        change(rng, made)
    return made.SerializeToString()


def change(rng: random.Random, message: Message, depth: int = 3) -> None:
    """Set a field of the message, or of one within it, to what nobody would send."""
    if not message.DESCRIPTOR.fields:
        return
    field = rng.choice(message.DESCRIPTOR.fields)
    value = getattr(message, field.name)
    if field.type == Kind.TYPE_MESSAGE:
        _change_messages(rng, message, field, depth)
    elif field.is_repeated:
        if rng.random() < 0.3 and len(value):
            value[rng.randrange(len(value))] = _extreme(rng, field)
        else:
            del value[rng.randrange(len(value) + 1) :]
            one = _extreme(rng, field)
            value.extend([one] * _times(rng, len(one) if isinstance(one, str | bytes) else 8))
    else:
        setattr(message, field.name, _extreme(rng, field))


def _change_messages(rng: random.Random, message: Message, field: Any, depth: int) -> None:
    value = getattr(message, field.name)
    if field.message_type.GetOptions().map_entry:
        key, to = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        value[_extreme(rng, key)] = _extreme(rng, to)
    elif not field.is_repeated:
        if rng.random() < 0.1:
            message.ClearField(field.name)
        elif depth:
            value.SetInParent()
            change(rng, value, depth - 1)
    elif value and rng.random() < 0.2:
        one = type(value[0])()
        one.CopyFrom(rng.choice(value))
        value.extend([one] * _times(rng, one.ByteSize()))
    else:
        one = rng.choice(value) if value and rng.random() < 0.8 else value.add()
        change(rng, one, depth - 1) if depth else None


def _times(rng: random.Random, size: int) -> int:
    """How often something of `size` bytes comes."""
    return min(_MUCH // max(1, size), _VERY_MANY if rng.random() < 0.01 else rng.choice(_MANY))


def _extreme(rng: random.Random, field: Any) -> Any:
    match field.type:
        case Kind.TYPE_STRING:
            return rng.choice(TEXTS)
        case Kind.TYPE_BYTES:
            return rng.choice((*WORDS, rng.randbytes(16), rng.randbytes(32), rng.randbytes(5000)))
        case Kind.TYPE_BOOL:
            return rng.random() < 0.5
        case Kind.TYPE_DOUBLE | Kind.TYPE_FLOAT:
            return rng.choice(FLOATS)
        case Kind.TYPE_ENUM:
            return rng.choice((0, 1, 2, 99, -1))
    bits = _UNSIGNED.get(field.type)
    return rng.choice(INTEGERS) % (1 << bits) if bits else rng.choice((0, 1, -1, (1 << 31) - 1, -(1 << 31)))
