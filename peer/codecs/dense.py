"""Dense updates: all values travel, in fewer bits or in all of them."""

from __future__ import annotations

import numpy as np

from peer.codecs.base import Floats

_BLOCK = 4096  # values that share a scale


class Int8:
    """One byte per value, and a scale (fp32) per block: the largest magnitude is 127; what is not finite
    shows in the scale. See `peer.codecs.base.Codec`."""

    dtype = np.float32
    sparse = False

    def size(self, count: int) -> int:
        return 4 * -(-count // _BLOCK) + count

    def encode(self, values: Floats) -> bytes:
        padded = np.pad(np.asarray(values, np.float32), (0, -len(values) % _BLOCK)).reshape(-1, _BLOCK)
        scales = np.abs(padded).max(axis=1) / np.float32(127)
        steps = np.divide(padded, scales[:, None], out=np.zeros_like(padded), where=scales[:, None] > 0)
        quantised = np.rint(steps).astype(np.int8)
        return b"".join([scales.astype("<f4").tobytes(), quantised.reshape(-1)[: len(values)].tobytes()])

    def decode(self, data: memoryview, count: int) -> Floats:
        rows = -(-count // _BLOCK)
        scales = np.frombuffer(data[: 4 * rows], "<f4")
        values = np.frombuffer(data[4 * rows :], np.int8).astype(np.float32)
        values *= np.repeat(scales, _BLOCK)[:count]
        return values


class Plain:
    """The values as they are, in a type of NumPy's. See `peer.codecs.base.Codec`."""

    sparse = False

    def __init__(self, stored: str, dtype: type[np.floating]) -> None:
        self.dtype = dtype
        self._stored = np.dtype(stored)

    def size(self, count: int) -> int:
        return self._stored.itemsize * count

    def encode(self, values: Floats) -> bytes:
        return values.astype(self._stored).tobytes()

    def decode(self, data: memoryview, count: int) -> Floats:
        return np.frombuffer(data, self._stored, count).astype(self.dtype)
