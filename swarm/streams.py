"""The streams of a client's calls, as they are sent and taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import BinaryIO

from swarm.proto import coordinator_pb2 as pb

CHUNK = 64 << 10  # bytes of a file: at 0.06 Mbit/s they come within the ten seconds that a coordinator waits
_PROBE = bytes(16 << 10)  # sent to measure a line


def take(data: bytearray, length: int, stream: Generator[bytes, None, None]) -> None:
    """Append what comes until there are `length` bytes, then end the stream."""
    with closing(stream):
        while len(data) < length and (part := next(stream, None)) is not None:
            data += part


def chunks(first: pb.UploadChunk, file: BinaryIO, may_send: Callable[[int], None]) -> Iterator[pb.UploadChunk]:
    """The rest of the file after `first`; `may_send` is called before so many bytes leave."""
    yield first
    while data := file.read(CHUNK):
        may_send(len(data))
        yield pb.UploadChunk(data=data)


def probe(seconds: float) -> Iterator[pb.Chunk]:
    """Bytes that mean nothing, for so long: gRPC takes the next ones when the line has room again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield pb.Chunk(data=_PROBE)
