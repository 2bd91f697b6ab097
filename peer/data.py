"""What a worker reads: packed samples by their position in the run's stream; see "Shard" in docs/architecture.md."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from swarm.errors import CorruptError
from swarm.ranges import Layout, Range, locate
from swarm.tensorfile import sha256_file

_SHARDS_IN_MEMORY = 8


@dataclass(frozen=True)
class Samples:
    """Some samples: token ids [n, sequence_length + 1], int64, and the documents that they belong to.

    |marks| [n, sequence_length + 1], int16, is the number of a token's document within its sample, from 1, and 0 for
    padding; a negative mark says that the token is not learned. Without marks all tokens but the first are learned.
    """

    tokens: Tensor
    marks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: slice) -> Samples:
        return Samples(self.tokens[rows], None if self.marks is None else self.marks[rows])

    def to(self, device: torch.device) -> Samples:
        """The same samples on `device`."""
        return Samples(self.tokens.to(device), None if self.marks is None else self.marks.to(device))

    def split(self, size: int) -> list[Samples]:
        """The samples in parts of at most `size`."""
        return [self[start : start + size] for start in range(0, len(self), size)]

    @classmethod
    def cat(cls, parts: list[Samples]) -> Samples:
        """The samples of all parts, which have marks or have none, one behind the other."""
        marks = [part.marks for part in parts if part.marks is not None]
        return cls(torch.cat([part.tokens for part in parts]), torch.cat(marks) if marks else None)


class Batches:
    """Samples of a run. `shard(i)` is the path of shard i, perhaps fetched first; `digests[i]` is its SHA-256.

    A shard is read when first needed and checked then; the last few stay in memory. For use by one thread.
    """

    def __init__(self, layout: Layout, digests: tuple[str, ...], shard: Callable[[int], Path]) -> None:
        self._layout = layout
        self._digests = digests
        self._shard = shard
        self._recent: OrderedDict[int, Samples] = OrderedDict()

    def load(self, positions: Range) -> Samples:
        """The samples at `positions`, on the CPU.

        Raises CorruptError, naming the file, when a shard is not what the run says, and what `shard` raises.
        """
        places = [locate(self._layout, position) for position in range(*positions)]
        return Samples.cat([self._samples(place.shard)[place.row : place.row + 1] for place in places])

    def _samples(self, shard: int) -> Samples:
        if shard not in self._recent:
            self._recent[shard] = self._read(shard)
        self._recent.move_to_end(shard)
        if len(self._recent) > _SHARDS_IN_MEMORY:
            self._recent.popitem(last=False)
        return self._recent[shard]

    def _read(self, shard: int) -> Samples:
        path = self._shard(shard)
        if sha256_file(path) != self._digests[shard]:
            raise _unusable(path, "its SHA-256 is not the one that the run names")
        samples = read_samples(path)
        if samples.tokens.shape != (self._layout.shard_samples[shard], self._layout.sequence_length + 1):
            raise _unusable(path, "it does not have the shape that the run names")
        return samples


def read_samples(path: Path) -> Samples:
    """The samples of a shard or of the held-out file.

    Raises CorruptError, naming the file, when it is torn or holds something else.
    """
    try:
        found = load_file(path)
        tokens, marks = found["tokens"], found.get("marks")
    except (SafetensorError, KeyError) as error:
        raise _unusable(path, "it holds no tokens") from error
    if tokens.dtype != torch.int32 or tokens.ndim != 2:
        raise _unusable(path, "its tokens have another form")
    if marks is not None and (marks.dtype != torch.int16 or marks.shape != tokens.shape):
        raise _unusable(path, "its marks do not fit its tokens")
    return Samples(tokens.long(), marks)


def _unusable(path: Path, why: str) -> CorruptError:
    return CorruptError(
        f"{path.name} is torn or was altered: {why}; it is not used.",
        f"Delete {path}; it is fetched again when it is needed.",
    )
