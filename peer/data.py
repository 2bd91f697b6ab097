"""What a worker reads: packed samples by their position in the run's stream."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from swarm.errors import CorruptError
from swarm.ranges import Layout, Range, locate
from swarm.tensorfile import sha256_file

_SHARDS_IN_MEMORY = 8


class Batches:
    """Samples of a run. `shard(i)` is the path of shard i, perhaps fetched first; `digests[i]` is its SHA-256.

    A shard is read when first needed and checked then; the last few stay in memory. For use by one thread.
    """

    def __init__(self, layout: Layout, digests: tuple[str, ...], shard: Callable[[int], Path]) -> None:
        self._layout = layout
        self._digests = digests
        self._shard = shard
        self._recent: OrderedDict[int, Tensor] = OrderedDict()

    def load(self, positions: Range) -> Tensor:
        """Token ids [len(positions), sequence_length + 1], int64, on the CPU.

        Raises CorruptError, naming the file, when a shard is not what the run says, and what `shard` raises.
        """
        places = [locate(self._layout, position) for position in range(*positions)]
        return torch.stack([self._tokens(place.shard)[place.row] for place in places]).long()

    def _tokens(self, shard: int) -> Tensor:
        if shard not in self._recent:
            self._recent[shard] = self._read(shard)
        self._recent.move_to_end(shard)
        if len(self._recent) > _SHARDS_IN_MEMORY:
            self._recent.popitem(last=False)
        return self._recent[shard]

    def _read(self, shard: int) -> Tensor:
        path = self._shard(shard)
        if sha256_file(path) != self._digests[shard]:
            raise _unusable(path, "its SHA-256 is not the one that the run names")
        tokens = read_tokens(path)
        if tokens.shape != (self._layout.shard_samples[shard], self._layout.sequence_length + 1):
            raise _unusable(path, "it does not have the shape that the run names")
        return tokens


def read_tokens(path: Path) -> Tensor:
    """Token ids [samples, sequence_length + 1], int32, of a shard or of the held-out file.

    Raises CorruptError, naming the file, when it is torn or holds something else.
    """
    try:
        tokens: Tensor = load_file(path)["tokens"]
    except (SafetensorError, KeyError) as error:
        raise _unusable(path, "it holds no tokens") from error
    if tokens.dtype != torch.int32 or tokens.ndim != 2:
        raise _unusable(path, "its tokens have another form")
    return tokens


def _unusable(path: Path, why: str) -> CorruptError:
    return CorruptError(
        f"{path.name} is torn or was altered: {why}; it is not used.",
        f"Delete {path}; it is fetched again when it is needed.",
    )
