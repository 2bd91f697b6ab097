"""From documents to samples: the corpus on disk, the held-out split, packing as a stream.

A sample is sequence_length + 1 token ids: the inputs are all but the last, the targets all but the first. Packing of
whole documents is in peer/whole.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from peer.blocks import Block
from peer.encoding import Tokens
from peer.formats import Document, plain
from peer.sources import cut
from swarm.errors import DataError
from swarm.runspec import RunSpec

SHARD_SAMPLES = 512
_PIECE = 2000  # characters; the size of pieces when there are too few documents to hold some of them out


@dataclass(frozen=True)
class Corpus:
    """All documents as token ids, as `peer.encoding` writes them.

    `tokens` is flat and lies on disk; document i is tokens[starts[i] : starts[i + 1]]. `split_keys` and `order_keys`
    (uint64, one per document) are drawn from its text alone, and from its text and the run's seed.
    """

    tokens: Tokens
    starts: NDArray[np.int64]
    split_keys: NDArray[np.uint64]
    order_keys: NDArray[np.uint64]


@dataclass(frozen=True)
class Split:
    """Indices of documents, in the order of packing."""

    train: NDArray[np.intp]
    heldout: NDArray[np.intp]


def separable(documents: Iterable[Document], fraction: float) -> Iterator[Document]:
    """The texts; when they are too few to hold `fraction` of them out, their paragraphs in pieces."""
    few = int(2 / fraction)
    stream = iter(documents)
    first = list(islice(stream, few))
    if len(first) == few:
        return chain(first, stream)
    return chain.from_iterable(map(_pieces, first))


def gather(blocks: Iterable[Block], file: BinaryIO) -> Corpus:
    """Write the blocks' tokens to the empty `file`, which must live as long as the result.

    Raises DataError when there is no document, and what reading them raises.
    """
    lengths, split_keys, order_keys = [np.zeros(1, np.int64)], [], []
    for block in blocks:
        file.write(block.array("tokens").tobytes())
        lengths.append(block.array("lengths"))
        split_keys.append(block.array("split_keys"))
        order_keys.append(block.array("order_keys"))
    if not split_keys:
        raise DataError("The data holds no text: every document is empty.", "Check data.source and data.field.")
    file.flush()
    return Corpus(
        np.memmap(file, np.int32, mode="r"),
        np.cumsum(np.concatenate(lengths)),
        np.concatenate(split_keys),
        np.concatenate(order_keys),
    )


def split(corpus: Corpus, spec: RunSpec) -> Split:
    """Hold out the documents with the lowest keys: as many as come nearest to heldout_fraction of the tokens, but to
    no more than a shard, and at least enough for one sample. Both sides are shuffled by run.seed.

    Raises DataError when too little is left for a stream to train on.
    """
    length = spec.data.sequence_length
    by_key = np.argsort(corpus.split_keys, kind="stable")
    tokens = np.cumsum(np.diff(corpus.starts)[by_key])
    wanted = min(spec.data.heldout_fraction * tokens[-1], SHARD_SAMPLES * length + 1)
    nearest = int(np.argmin(np.abs(tokens - wanted)))
    held = min(max(nearest, int(np.searchsorted(tokens, length + 1))) + 1, len(by_key))
    if not spec.data.whole:
        _require_enough(int(tokens[-1] - tokens[held - 1]), int(tokens[held - 1]), spec)
    return Split(_shuffled(by_key[held:], corpus), _shuffled(by_key[:held], corpus))


def shards(corpus: Corpus, documents: Iterable[int], length: int) -> Iterator[Tokens]:
    """Samples [≤ 512, length + 1] from the documents one behind another.

    Neighbours overlap by one token, so that every token but the first is a target once; what does not fill a last
    sample is left out.
    """
    full = SHARD_SAMPLES * length + 1
    stream = np.empty(0, np.int32)
    for part in _parts(corpus, documents, full):
        stream = np.concatenate([stream, part])
        while len(stream) >= full:
            yield _samples(stream[:full], length)
            stream = stream[full - 1 :]
    if len(stream) > length:
        yield _samples(stream, length)


def _pieces(document: Document) -> Iterator[Document]:
    pieces = cut(document.text.splitlines(keepends=True), _PIECE)
    numbered = enumerate((piece for piece in pieces if piece.strip()), start=1)
    return (plain(piece, f"{document.origin}, piece {number}") for number, piece in numbered)


def _shuffled(documents: NDArray[np.intp], corpus: Corpus) -> NDArray[np.intp]:
    return documents[np.argsort(corpus.order_keys[documents], kind="stable")]


def _require_enough(train: int, heldout: int, spec: RunSpec) -> None:
    length, batch = spec.data.sequence_length, spec.training.target_batch_size
    needed = 2 * batch * length + 1
    if train < needed:
        raise DataError(
            f"The data is too short: data.sequence_length = {length} and training.target_batch_size = {batch} need at "
            f"least {needed} tokens to train on; found {train}, and {heldout} held out for evaluation.",
            "Add text, or lower training.target_batch_size or data.sequence_length.",
        )


def _parts(corpus: Corpus, documents: Iterable[int], size: int) -> Iterator[Tokens]:
    """The documents' tokens in parts of about `size`, so that little is copied more than once."""
    part: list[Tokens] = []
    length = 0
    for document in documents:
        part.append(corpus.tokens[corpus.starts[document] : corpus.starts[document + 1]])
        length += len(part[-1])
        if length >= size:
            yield np.concatenate(part)
            part, length = [], 0
    yield np.concatenate([*part, np.empty(0, np.int32)])


def _samples(stream: Tokens, length: int) -> Tokens:
    windows = np.lib.stride_tricks.sliding_window_view(stream, length + 1)
    return np.ascontiguousarray(windows[::length])
