"""Running a decoder on what nobody would send, for a while: what it does not survive, and what memory it takes."""

from __future__ import annotations

import random
import time
import traceback
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from swarm.errors import SwarmError
from tests.fuzz.mutate import mutated

SLOW = 2.0  # seconds of the processor for one input: whoever can send it often stops whoever decodes it
_SAMPLED = 64  # of so many inputs the memory of one is traced


@dataclass(frozen=True)
class Decoder:
    """What takes bytes from the network.

    `take` may return anything and raise `errors`, and nothing else. It is given at most `largest` bytes and may take
    `limit` bytes of memory for them. `covers` are the message types that it takes, `message` the one that its input is.
    """

    name: str
    take: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    largest: int
    limit: int
    errors: tuple[type[Exception], ...] = (SwarmError,)
    message: type[Message] | None = None
    covers: tuple[type[Message], ...] = ()


@dataclass
class Found:
    """What came of it. `crashes` are inputs (hex) and how they ended; `peak` is bytes, as tracemalloc sampled them."""

    runs: int = 0
    seconds: float = 0.0
    peak: int = 0
    slowest: float = 0.0
    crashes: dict[str, str] = field(default_factory=dict)


def fuzz(decoder: Decoder, seconds: float, seed: int, before: Callable[[bytes], None] = lambda _: None) -> Found:
    """Seeds first, then changed ones, until the time is over or ten kinds of crash are found. `before` hears each input
    before it is tried.
    """
    rng, found, kinds = random.Random(f"{decoder.name}/{seed}"), Found(), set[str]()
    began = time.monotonic()
    while time.monotonic() - began < seconds and len(found.crashes) < 10:
        fresh = found.runs >= len(decoder.seeds)
        seeds = decoder.seeds
        data = mutated(rng, seeds, decoder.message, decoder.largest) if fresh else seeds[found.runs]
        before(data)
        found.runs += 1
        why = _one(decoder, data, found, traced=found.runs % _SAMPLED == 1)
        if why and why not in kinds:
            kinds.add(why)
            found.crashes[shrunk(decoder, data).hex()] = why
    found.seconds = time.monotonic() - began
    return found


def outcome(decoder: Decoder, data: bytes) -> str:
    """How it ended, when it must not end so; else nothing."""
    try:
        decoder.take(data)
    except decoder.errors:
        return ""
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {place.name}: {str(error)[:80]}"
    return ""


def shrunk(decoder: Decoder, data: bytes) -> bytes:
    """A shorter input that ends as the same kind of error, found by leaving out pieces."""
    kind, size, end = outcome(decoder, data).partition(":")[0], len(data) // 2, time.monotonic() + 3.0
    while size and kind and time.monotonic() < end:
        for begin in range(0, len(data), size):
            less = data[:begin] + data[begin + size :]
            if time.monotonic() < end and outcome(decoder, less).partition(":")[0] == kind:
                data = less
                break
        else:
            size //= 2
    return data


def _one(decoder: Decoder, data: bytes, found: Found, traced: bool) -> str:
    if traced:
        tracemalloc.start()
    began = time.process_time()
    why = outcome(decoder, data)
    spent = time.process_time() - began
    if traced:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        found.peak = max(found.peak, peak)
        if peak > 2 * decoder.limit:
            return why or f"memory: more than twice {decoder.limit} bytes"
        return why
    found.slowest = max(found.slowest, spent)
    return why or ("slow: more than 2 s" if spent > SLOW else "")


def replayed(decoder: Decoder, inputs: Sequence[bytes]) -> dict[str, str]:
    """The inputs that must not end as they do."""
    return {data.hex(): why for data in inputs if (why := outcome(decoder, data))}
