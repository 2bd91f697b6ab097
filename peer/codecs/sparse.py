"""Sparse updates: of each block the largest values, as sign and one of two magnitudes.

After Sarfi et al. 2025, "Communication Efficient LLM Pre-training with SparseLoCo" (arXiv 2508.15706): top-k per block,
two bits per value, an index of twelve. A block is 4096 values that follow each other in a tensor. What does not travel
stays with the sender (`peer.local_mode`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peer.codecs.base import Floats
from peer.codecs.selection import BLOCK, Largest, largest_on_host
from swarm.errors import CorruptError

_SPREAD = np.arange(4, dtype=np.uint8) * 2  # the places of four codes in a byte

Bytes = NDArray[np.uint8]


class Sparse:
    """See `peer.codecs.base.Codec`; `kept` values of each full block travel, and the same part of the last one."""

    dtype = np.float32
    sparse = True

    def __init__(self, kept: int, largest: Largest = largest_on_host) -> None:
        self._kept = kept
        self._largest = largest

    def size(self, count: int) -> int:
        return sum(_size(rows, kept) for rows, _, kept in self._parts(count))

    def encode(self, values: Floats) -> bytes:
        parts, begin = [], 0
        for rows, width, kept in self._parts(len(values)):
            end = begin + rows * width
            blocks = np.asarray(values[begin:end], np.float32).reshape(rows, width)
            parts.append(_encode(blocks, self._largest(blocks, kept)))
            begin = end
        return b"".join(parts)

    def decode(self, data: memoryview, count: int) -> Floats:
        values = np.zeros(count, np.float32)
        begin, at = 0, 0
        for rows, width, kept in self._parts(count):
            end, behind = begin + rows * width, at + _size(rows, kept)
            _decode(data[at:behind], values[begin:end].reshape(rows, width), kept)
            begin, at = end, behind
        return values

    def _parts(self, count: int) -> Iterator[tuple[int, int, int]]:
        """(blocks, values in each, how many of them travel): the full blocks, then what is left."""
        full, rest = divmod(count, BLOCK)
        if full:
            yield full, BLOCK, self._kept
        if rest:
            yield 1, rest, -(-self._kept * rest // BLOCK)


def _size(rows: int, kept: int) -> int:
    chosen = rows * kept
    return 4 * rows + -(-chosen // 4) + 3 * -(-chosen // 2)


def _encode(blocks: NDArray[np.float32], indices: NDArray[np.int32]) -> bytes:
    """Two magnitudes of each block (bfloat16), codes of 2 bits (sign, which magnitude), indices of 12 bits."""
    chosen = np.take_along_axis(blocks, indices, axis=1)
    sizes = np.abs(chosen)
    high = sizes > sizes.mean(axis=1, keepdims=True)
    levels = _bfloat16(np.stack([_mean(sizes, ~high), _mean(sizes, high)], axis=1))
    codes = (np.signbit(chosen).astype(np.uint8) << 1 | high).reshape(-1)
    return levels.tobytes() + _pack_codes(codes).tobytes() + _pack_indices(indices.reshape(-1)).tobytes()


def _decode(data: memoryview, blocks: NDArray[np.float32], kept: int) -> None:
    rows, width = blocks.shape
    codes_at, indices_at = 4 * rows, 4 * rows + -(-rows * kept // 4)
    levels = (np.frombuffer(data[:codes_at], "<u2").astype(np.uint32) << 16).view(np.float32).reshape(rows, 2)
    codes = _unpack_codes(np.frombuffer(data[codes_at:indices_at], np.uint8), rows * kept).reshape(rows, kept)
    indices = _unpack_indices(np.frombuffer(data[indices_at:], np.uint8), rows * kept).reshape(rows, kept)
    if width < BLOCK and indices.max(initial=0) >= width:
        raise CorruptError("An update cannot be read: an index is out of its block.", "It is left out of the round.")
    sizes = np.take_along_axis(levels, (codes & 1).astype(np.intp), axis=1)
    np.put_along_axis(blocks, indices, np.where(codes & 2, -sizes, sizes), axis=1)


def _mean(sizes: NDArray[np.float32], which: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mean of a row's chosen sizes; of all of them when none is chosen."""
    count = which.sum(axis=1)
    sums = np.where(which, sizes, 0).sum(axis=1)
    return np.where(count, sums / np.maximum(count, 1), sizes.mean(axis=1)).astype(np.float32)


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Rounded to the nearest; the range of fp32, because updates get small."""
    finite = np.minimum(values, np.float32(3e38))  # rounding up must not make it infinite
    rounded = ((finite.view(np.uint32) + np.uint32(0x8000)) >> 16).astype("<u2")
    return np.where(np.isfinite(values), rounded, np.uint16(0x7F80))


def _pack_codes(codes: Bytes) -> Bytes:
    padded = _padded(codes, 4)
    packed: Bytes = np.bitwise_or.reduce(padded << _SPREAD, axis=1)
    return packed


def _unpack_codes(packed: Bytes, count: int) -> Bytes:
    codes: Bytes = (packed[:, None] >> _SPREAD & np.uint8(3)).reshape(-1)[:count]
    return codes


def _pack_indices(indices: NDArray[np.int32]) -> Bytes:
    """Two indices of 12 bits in three bytes."""
    pairs = _padded(indices, 2)
    both = (pairs[:, 0] | pairs[:, 1] << 12).astype("<i4")
    packed: Bytes = both.view(np.uint8).reshape(-1, 4)[:, :3]
    return packed


def _unpack_indices(packed: Bytes, count: int) -> NDArray[np.intp]:
    triples = packed.reshape(-1, 3).astype(np.intp)
    both = triples[:, 0] | triples[:, 1] << 8 | triples[:, 2] << 16
    return np.stack([both & (BLOCK - 1), both >> 12], axis=1).reshape(-1)[:count]


def _padded(values: NDArray[Any], width: int) -> NDArray[Any]:
    """As rows of `width`; the last one is filled up with zeros."""
    missing = -len(values) % width
    return (np.append(values, np.zeros(missing, values.dtype)) if missing else values).reshape(-1, width)
