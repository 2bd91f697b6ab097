"""Every decoder that takes bytes from the network, for a moment each; and what once got through.

`python -m benchmarks.bench_fuzz` does the same for minutes; docs/results.md has what came of it. A failing input is
shown in hex: `table()[NAME].take(bytes.fromhex(...))` does it again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.decoders import covered, received, table
from tests.fuzz.run import Decoder, fuzz, replayed

_SECONDS = float(os.environ.get("SWARM_FUZZ_SECONDS", "0.08"))
_REFUSED = {
    "coordinator: RevokeInvite",
    "coordinator: Unban",
    "coordinator: Upload",
}  # valid, but about what is not there


@pytest.fixture(scope="module", autouse=True)
def no_log() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def test_every_message_that_can_be_received_has_a_row() -> None:
    assert received() <= covered()


def test_every_call_of_the_coordinator_has_a_row() -> None:
    from swarm.proto import coordinator_pb2 as pb

    service = pb.DESCRIPTOR.services_by_name["Coordinator"]
    asked = {method.input_type.full_name for method in service.methods}
    assert asked | {method.output_type.full_name for method in service.methods} <= covered()


@pytest.mark.parametrize("name", sorted(table()))
def test_nothing_but_its_own_errors_comes_out(name: str) -> None:
    decoder = table()[name]
    if name not in _REFUSED:
        for seed in decoder.seeds:
            decoder.take(seed)  # they are valid: what is changed of them gets far
    found = fuzz(decoder, _SECONDS, seed=7)
    assert not found.crashes, found.crashes


@given(st.binary(max_size=200), st.sampled_from(sorted(table())))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_nor_of_bytes_that_are_no_message_at_all(data: bytes, name: str) -> None:
    assert not replayed(table()[name], [data])


@pytest.mark.parametrize(("name", "data"), [("DHT: signed record", "94c40101c40470617373c4076b6579c4097369c400")])
def test_what_got_through_once_does_no_more(name: str, data: str) -> None:
    assert not replayed(table()[name], [bytes.fromhex(data)])


def test_a_crash_is_found_shrunk_and_can_be_done_again() -> None:
    def take(data: bytes) -> None:
        if b"\xff" in data:
            raise KeyError("never caught")

    decoder = Decoder("broken", take, (b"a" * 100,), 1000, 1 << 20)
    [(data, why)] = fuzz(decoder, 0.5, seed=1).crashes.items()
    assert "ff" in data
    assert len(data) <= 4
    assert why.startswith("KeyError")
    assert replayed(decoder, [bytes.fromhex(data)])


def test_memory_beyond_twice_the_limit_is_a_crash() -> None:
    decoder = Decoder("greedy", lambda data: bytearray(len(data) << 12), (b"a" * 1000,), 1000, 1 << 20)
    found = fuzz(decoder, 0.2, seed=1)
    assert any(why.startswith("memory") for why in found.crashes.values())
    assert found.peak > 2 << 20
