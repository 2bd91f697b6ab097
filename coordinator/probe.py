"""How fast a caller's line is: bytes that mean nothing, a few megabytes of them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from swarm.errors import OverloadError
from swarm.proto import coordinator_pb2 as pb
from swarm.ration import Ration

_CHUNK = bytes(64 << 10)
_MOST = 8 << 20  # bytes each way
_SECONDS = 10.0  # a line slower than that is known well enough by then


class Probe:
    """Threads of the gRPC server call in at once. `ration` counts both ways."""

    def __init__(self, ration: Ration) -> None:
        self._ration = ration

    def send(self, caller: str) -> Iterator[pb.Chunk]:
        """Until the caller has enough. Raises OverloadError when it asks too often."""
        self._admit(caller)
        end = time.monotonic() + _SECONDS
        for _ in range(_MOST // len(_CHUNK)):
            if time.monotonic() > end:
                return
            yield pb.Chunk(data=_CHUNK)

    def take(self, caller: str, chunks: Iterator[pb.Chunk]) -> pb.ProbeResponse:
        """What arrives is counted and thrown away. Raises OverloadError when the caller asks too often."""
        self._admit(caller)
        next(chunks, None)  # the clock starts when the line is warm
        size, began = 0, time.monotonic()
        for chunk in chunks:
            size += len(chunk.data)
            if size >= _MOST or time.monotonic() - began > _SECONDS:
                break
        return pb.ProbeResponse(size=size, seconds=time.monotonic() - began)

    def _admit(self, caller: str) -> None:
        if not self._ration.permits(caller):
            raise OverloadError("The line was measured too often from this address.", "Try again in a minute.")
