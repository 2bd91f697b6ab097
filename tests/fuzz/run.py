"""Running a decoder on what nobody would send, for a while: what it does not survive, and what memory it takes."""

from __future__ import annotations

import gc
import random
import resource
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from swarm.errors import SwarmError
from tests.fuzz.mutate import mutated

SLOW = 2.0  # seconds of the processor for one input: whoever can send it often stops whoever decodes it
_ENOUGH = 10  # kinds of crash
_TRACED = 0.1  # part of the time, at its end, in which the memory of each input is traced, which is slow


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
    """What came of it. `seconds` are the processor's. `crashes` are inputs (hex) and how they ended; `peak` is bytes of
    one input, as tracemalloc counts them; `growth` bytes of the whole process, before anything was traced.
    """

    runs: int = 0
    seconds: float = 0.0
    peak: int = 0
    growth: int = 0
    slowest: float = 0.0
    crashes: dict[str, str] = field(default_factory=dict)


def fuzz(decoder: Decoder, seconds: float, seed: int, before: Callable[[bytes], None] = lambda _: None) -> Found:
    """Seeds first, then changed ones, until the processor's time is over or ten kinds of crash are found. `before`
    hears each input before it is tried.
    """
    rng, found = random.Random(f"{decoder.name}/{seed}"), Found()
    gc.freeze()  # to look once through what others hold in this process takes seconds, which are not the decoder's
    try:
        size = _largest_yet()
        _try(decoder, _inputs(decoder, rng), (1 - _TRACED) * seconds, found, before)
        found.growth = _largest_yet() - size
        tracemalloc.start()
        _try(decoder, _inputs(decoder, rng), seconds, found, before)
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    return found


def _inputs(decoder: Decoder, rng: random.Random) -> Iterator[bytes]:
    yield from decoder.seeds
    while True:
        yield mutated(rng, decoder.seeds, decoder.message, decoder.largest)


def _try(
    decoder: Decoder, inputs: Iterator[bytes], until: float, found: Found, before: Callable[[bytes], None]
) -> None:
    """Go on until `found` has that many seconds."""
    began = time.process_time() - found.seconds
    while found.seconds < until and len(found.crashes) < _ENOUGH:
        data = next(inputs)
        before(data)
        found.runs += 1
        why = _one(decoder, data, found)
        if why and why not in found.crashes.values():
            found.crashes[shrunk(decoder, data).hex()] = why
        found.seconds = time.process_time() - began


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


def _one(decoder: Decoder, data: bytes, found: Found) -> str:
    """How it ended, when it must not end so: by the memory that is traced, or else by the time that it took."""
    if tracemalloc.is_tracing():
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        why = outcome(decoder, data)
        taken = tracemalloc.get_traced_memory()[1] - held
        found.peak = max(found.peak, taken)
        return why or (f"memory: more than twice {decoder.limit} bytes" if taken > 2 * decoder.limit else "")
    began = time.process_time()
    why = outcome(decoder, data)
    spent = time.process_time() - began
    found.slowest = max(found.slowest, spent)
    return why or ("slow: more than 2 s" if spent > SLOW else "")


def _largest_yet() -> int:
    """Bytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def replayed(decoder: Decoder, inputs: Sequence[bytes]) -> dict[str, str]:
    """The inputs that must not end as they do."""
    return {data.hex(): why for data in inputs if (why := outcome(decoder, data))}
