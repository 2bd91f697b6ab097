"""An update cut into parts that travel alone, each with its hash: what gradient mode's clipped mean is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from peer.exchange import guard
from peer.exchange.butterfly import CODECS
from peer.robust import robust_mean

guard.prepare()

from hivemind.compression import CompressionInfo, deserialize_torch_tensor  # noqa: E402
from hivemind.proto import runtime_pb2  # noqa: E402

VALUES = 1 << 15  # of a part: whoever checks one fetches it from a reducer as often as there are senders
HASH = 32  # bytes
_ROUNDING = 0.05  # of a part's norm, in 8 bits; the other codecs are the same bits on every machine

Floats = NDArray[np.float32]


def cut(vectors: Sequence[Tensor]) -> list[Tensor]:
    """The parts of all vectors (`peer.exchange.butterfly.vectors`), one behind the other."""
    return [part for vector in vectors for part in torch.split(vector, VALUES)]


def encoded(part: Tensor, codec: str) -> bytes:
    """A part as it travels."""
    coder = CODECS[codec]()
    data: bytes = coder.compress(part, CompressionInfo.from_tensor(part, key=0)).SerializeToString(deterministic=True)
    return data


def decoded(data: bytes, count: int, codec: str) -> Floats | None:
    """The values [count] of a part; None when it is of another size or codec, or not finite: then it counts nothing."""
    if len(data) != _length(count, codec):
        return None  # before anything of it is read: that could take long
    try:
        found = runtime_pb2.Tensor.FromString(data)
        if found.compression != CODECS[codec].compression_type or tuple(found.size) != (count,):
            return None
        values: Floats = deserialize_torch_tensor(found).reshape(-1).numpy()
    except Exception:  # of many kinds: it is a stranger's message
        return None
    return values if values.dtype == np.float32 and len(values) == count and np.isfinite(values).all() else None


@lru_cache(maxsize=1024)
def _length(count: int, codec: str) -> int:
    """Bytes of a part of so many values, which follow from their number."""
    return len(encoded(torch.zeros(count), codec))


def leaf(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hash_of(leaves: bytes, index: int) -> bytes:
    return leaves[HASH * index : HASH * (index + 1)]


def root(leaves: bytes) -> str:
    """What names an update, or a reducer's share, by all its parts."""
    return hashlib.sha256(leaves).hexdigest()


def shares(counts: Sequence[int], reducers: int) -> list[range]:
    """Which parts, of so many values each, every reducer takes: neighbours, about as many values for each."""
    ends = list(accumulate(counts))
    total = ends[-1]
    middles = [2 * end - count for end, count in zip(ends, counts, strict=True)]
    cuts = [sum(middle * reducers <= 2 * total * k for middle in middles) for k in range(reducers + 1)]
    cuts[0], cuts[-1] = 0, len(counts)
    return [range(begin, end) for begin, end in pairwise(cuts)]


def mean_of(
    sent: Sequence[bytes], samples: Sequence[int], count: int, codec: str, weighs: Sequence[float] = ()
) -> tuple[Floats, dict[int, str]]:
    """What a reducer makes of one part [count] of everybody's, in the group's order; and who was refused, why.

    `weighs`: what each sample of theirs weighs, 0 to 1.
    """
    weighs = weighs or [1.0] * len(sent)
    values = [decoded(data, count, codec) for data in sent]
    refused = {place: "it cannot be read" for place, found in enumerate(values) if found is None}
    good = [place for place, found in enumerate(values) if found is not None]
    if not good:
        return np.zeros(count, np.float32), refused
    rows = np.array([values[place] for place in good], np.float64)
    mean, left_out = robust_mean(rows, [samples[place] for place in good], [weighs[place] for place in good])
    return mean, refused | {good[index]: why for index, why in left_out.items()}


def agrees(received: Floats, computed: Floats, codec: str) -> bool:
    """Whether a reducer's part, decoded, is what should have come of its inputs."""
    expected = decoded(encoded(torch.from_numpy(computed), codec), len(computed), codec)
    assert expected is not None
    if codec != "8bit":
        return bool(np.array_equal(received, expected))
    away = np.linalg.norm((received - expected).astype(np.float64))
    return bool(away <= _ROUNDING * np.linalg.norm(expected.astype(np.float64)))
