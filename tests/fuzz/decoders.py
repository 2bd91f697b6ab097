"""Everything that takes bytes from the network, in one table: a message that can be received has a row here."""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor import Descriptor

from tests.fuzz import (
    of_bundle,
    of_coordinator,
    of_dht,
    of_exchange,
    of_files,
    of_page,
    of_registry,
    of_rounds,
    of_trials,
)
from tests.fuzz.run import Decoder

# Of these protobuf's parser reads the bytes of all messages alike, and hands each to what it is for.
_MESSAGES = ("DHT", "answer", "coordinator", "peer")


@cache
def table() -> dict[str, Decoder]:
    """The rows by their names."""
    of_network = (of_coordinator, of_dht, of_exchange, of_page, of_rounds, of_trials)
    tables = (*of_network, of_files, of_bundle, of_registry)
    rows = [row for one in tables for row in one.decoders()]
    assert len({row.name for row in rows}) == len(rows)
    return {row.name: row for row in rows}


def decoder_of(row: Decoder) -> str:
    """What reads the bytes of a row: the row itself, or what reads those of others as well."""
    kind = row.name.partition(": ")[0]
    return kind if row.message and kind in _MESSAGES else row.name


def covered() -> set[str]:
    """The full names of the message types that some row takes, and of those within them."""
    found: set[str] = set()
    for row in table().values():
        for kind in row.covers:
            _add(kind.DESCRIPTOR, found)
    return found


def _add(kind: Descriptor, found: set[str]) -> None:
    if kind.full_name not in found:
        found.add(kind.full_name)
        for field in kind.fields:
            if field.message_type is not None:
                _add(field.message_type, found)


def received() -> set[str]:
    """All message types of the project's own protocols."""
    from swarm.proto import circuit_pb2, coordinator_pb2, exchange_pb2

    files = (circuit_pb2, coordinator_pb2, exchange_pb2)
    return {kind.full_name for file in files for kind in file.DESCRIPTOR.message_types_by_name.values()}
