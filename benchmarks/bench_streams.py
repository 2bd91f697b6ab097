"""How many streams lose their last messages, with hivemind's loops for streams and with ours.

python benchmarks/bench_streams.py [--quick]

Two nodes on loopback. One sends messages, and the other answers each by one of the same size, as reducers do; a stream
is short when not all answers came. Each kind is played in turns with hivemind's loops and with ours, with nothing
beside and with two busy programs for each core. (--quick: a twentieth of it; writes nothing.)
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from hivemind.p2p import P2P, P2PContext  # before ours takes the place of its loops

LOOPS = {"hivemind": (P2P._iterate_protobuf_stream_handler, P2P._add_protobuf_stream_handler)}

from benchmarks.results import record  # noqa: E402
from swarm.proto import exchange_pb2 as pb  # noqa: E402
from tests.two_nodes import two_nodes  # noqa: E402

LOOPS["ours"] = (P2P._iterate_protobuf_stream_handler, P2P._add_protobuf_stream_handler)

_TURNS = 4


@dataclass(frozen=True)
class Kind:
    """Streams of so many messages, of so many bytes each."""

    streams: int
    messages: int
    size: int
    busy: bool


KINDS = {
    "three of 4 MB": Kind(800, 3, 4_000_000, busy=False),
    "two of 400 kB, beside busy programs": Kind(1200, 2, 400_000, busy=True),
}


@contextmanager
def busy_programs(count: int) -> Iterator[None]:
    """So many that do nothing but work."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


async def answers(requests: AsyncIterator[pb.Part], _context: P2PContext) -> AsyncIterator[pb.Part]:
    """Each message back."""
    async for request in requests:
        yield pb.Part(tensor=request.tensor)


async def played(loops: str, kind: Kind, streams: int) -> tuple[int, float]:
    """How many streams came short, and the seconds of all."""
    P2P._iterate_protobuf_stream_handler, P2P._add_protobuf_stream_handler = LOOPS[loops]
    async with two_nodes() as (asked, asks):
        await asked.add_protobuf_handler("parts", answers, pb.Part, stream_input=True, stream_output=True)
        began = time.monotonic()
        short = sum([await one_stream(asks, asked, kind) < kind.messages for _ in range(streams)])
        return short, time.monotonic() - began


async def one_stream(asks: P2P, asked: P2P, kind: Kind) -> int:
    """How many answers came."""

    async def requests() -> AsyncIterator[pb.Part]:
        for _ in range(kind.messages):
            yield pb.Part(tensor=bytes(kind.size))

    found = await asks.iterate_protobuf_handler(asked.peer_id, "parts", requests(), pb.Part)
    return len([answer async for answer in found])


def measured(kind: Kind, turns: int, share: int) -> dict[str, Any]:
    """Of both loops, in turns."""
    short, seconds = dict.fromkeys(LOOPS, 0), dict.fromkeys(LOOPS, 0.0)
    with busy_programs(2 * (psutil.cpu_count() or 1) if kind.busy else 0):
        for _ in range(turns):
            for loops in LOOPS:
                found = asyncio.run(played(loops, kind, kind.streams // share // turns))
                short[loops] += found[0]
                seconds[loops] += found[1]
    ratio = seconds["ours"] / seconds["hivemind"]
    return {"streams": kind.streams // share, "short": short, "seconds_to_hivemind": round(ratio, 3)}


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a twentieth of it; writes nothing")
    quick = parser.parse_args().quick
    turns, share = (1, 20) if quick else (_TURNS, 1)
    record("streams", {name: measured(kind, turns, share) for name, kind in KINDS.items()}, quick)


if __name__ == "__main__":
    main()
