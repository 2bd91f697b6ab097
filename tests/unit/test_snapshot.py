"""What a donor offers as the agreed state, before anything of it is fetched."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from peer.exchange.node import Node
from peer.exchange.snapshot import download
from peer.exchange.states import States
from peer.held import Shelf
from swarm.proto import exchange_pb2 as pb


class Donor:
    """Gives its one offer to whoever asks."""

    def __init__(self, offer: pb.Snapshot) -> None:
        self.offer = offer

    def stub(self, *_: object) -> Donor:
        return self

    async def rpc_snapshot(self, *_: object, **__: object) -> pb.Snapshot:
        return self.offer


async def heard(_: int) -> bool:
    return True


@pytest.mark.parametrize("size", [1 << 43, 1 << 62, 1 << 63])
def test_an_offer_of_a_size_that_no_state_has_is_refused_by_name(
    size: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In one chunk, so that the offer itself is small."""
    offer = pb.Snapshot(available=True, round=4, sha256="0" * 64, size=size, chunk_size=size, chunks=bytes(32))
    states = States(Shelf())
    assert asyncio.run(download(cast(Node, Donor(offer)), states, [b"liar"], 0, tmp_path, heard)) is None
    assert states.refused == {offer.chunks}
    assert f"the state of round 4 is said to be of {size} bytes" in caplog.text
    assert not list(tmp_path.iterdir())
