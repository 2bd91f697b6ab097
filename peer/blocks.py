"""Documents made ready in blocks (tokens, keys, signatures) by several processes, each block kept as a file.

A block's file is named by the SHA-256 of all that it depends on, so what was computed before an interruption is found
again, and the number of processes changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from peer.encoding import encode
from peer.formats import Document
from peer.likeness import signatures
from swarm import lifetime, log
from swarm.errors import CorruptError, SwarmError
from swarm.tensorfile import atomic_write, read_header

logger = log.get(__name__)

_DOCUMENTS = 512  # in a block
_CHARACTERS = 1 << 22  # after which a block ends before that; bounds memory
_SHOWN = 80  # characters of a document in reports
_FORMAT = "garage-swarm-block-2"

Make = Callable[[Sequence[Document], Path], None]


@dataclass(frozen=True)
class Encoder:
    """What blocks depend on besides their documents. `key` is the SHA-256 of the tokenizer's files."""

    tokenizer: Any
    key: str
    whole: bool
    seed: int

    def name(self, documents: Sequence[Document]) -> str:
        """The name of a block's file."""
        parts = [(item.origin, item.text, item.pieces, item.messages) for item in documents]
        content = [_FORMAT, self.key, self.whole, self.seed, parts]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()

    def make(self, documents: Sequence[Document], path: Path) -> None:
        """Write the block of `documents`. Raises DataError, OSError (disk)."""
        tokens = encode(documents, self.tokenizer, self.whole)
        texts = [document.text for document in documents]
        arrays: dict[str, NDArray[Any]] = {
            "tokens": np.concatenate(tokens),
            "lengths": np.array([len(part) for part in tokens], np.int64),
            "split_keys": np.array([_key(text) for text in texts], np.uint64),
            "order_keys": np.array([_key(f"{self.seed}\0{text}") for text in texts], np.uint64),
            "signatures": signatures(texts),
        }
        shown = [[document.origin, document.text[:_SHOWN]] for document in documents]
        facts = {"documents": json.dumps(shown), "digest": _digest(arrays)}
        with atomic_write(path) as file:
            file.write(save(arrays, facts))


@dataclass(frozen=True)
class Block:
    """The file of some documents in a row."""

    path: Path
    documents: int
    made: bool  # or found from before

    def array(self, name: str) -> NDArray[Any]:
        """One of `tokens` (int32, see `peer.encoding`), `lengths` (int64), `split_keys`, `order_keys` (uint64) and
        `signatures` (uint32 [documents, 128])."""
        with safe_open(self.path, "np") as file:
            found: NDArray[Any] = file.get_tensor(name)
        return found

    def shown(self) -> list[tuple[str, str]]:
        """Origin and beginning of each document."""
        with safe_open(self.path, "np") as file:
            return [(origin, text) for origin, text in json.loads(file.metadata()["documents"])]


def blocks(documents: Iterable[Document], encoder: Encoder, folder: Path, jobs: int) -> Iterator[Block]:
    """The documents' blocks in order, in `folder`, computed by `jobs` processes where they are missing.

    Raises DataError, SwarmError when a process is killed, OSError (disk), and what `documents` raises.
    """
    parts = _parts(documents)
    first = list(islice(parts, 2))
    waiting: deque[Callable[[], Block]] = deque()
    with _workers(encoder, jobs if len(first) > 1 else 1) as begin:
        for part in chain(first, parts):
            waiting.append(begin(part, folder / encoder.name(part)))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()


def _parts(documents: Iterable[Document]) -> Iterator[list[Document]]:
    part: list[Document] = []
    size = 0
    for document in documents:
        part.append(document)
        size += len(document.text)
        if len(part) == _DOCUMENTS or size >= _CHARACTERS:
            yield part
            part, size = [], 0
    if part:
        yield part


@contextmanager
def _workers(encoder: Encoder, jobs: int) -> Iterator[Callable[[list[Document], Path], Callable[[], Block]]]:
    """A function that begins a block and gives back one that waits for it; one job needs no other process."""
    if jobs == 1:
        yield lambda part, path: partial(_block, encoder.make, part, path)
        return
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (encoder, os.getpid()))

    def begin(part: list[Document], path: Path) -> Callable[[], Block]:
        if _whole(path):
            return partial(Block, path, len(part), made=False)
        return pool.submit(_block, _make, part, path).result

    try:
        yield begin
    except BrokenProcessPool as error:
        what = "A process of the preparation was killed, perhaps because memory ran out."
        raise SwarmError(what, "Run the command again with fewer --jobs; what was done is kept.") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _block(make: Make, part: list[Document], path: Path) -> Block:
    if _whole(path):
        return Block(path, len(part), made=False)
    make(part, path)
    return Block(path, len(part), made=True)


_encoder: list[Encoder] = []  # of this process, when it is one of the pool's


def _begin(encoder: Encoder, parent: int) -> None:
    """Begin a process of the pool: it ends with its parent, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lifetime.end_with(parent)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    _encoder.append(encoder)


def _make(part: Sequence[Document], path: Path) -> None:
    _encoder[0].make(part, path)


def _whole(path: Path) -> bool:
    """Whether the block is there; one that was torn is as good as none, and is computed again."""
    try:
        if read_header(path).metadata.get("digest") == _digest(load(path.read_bytes())):
            return True
    except FileNotFoundError:
        return False
    except (CorruptError, SafetensorError) as error:
        logger.info("%s", error)
    logger.warning("%s is torn or was altered; it is computed again", path)
    return False


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    return hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()


def _key(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
