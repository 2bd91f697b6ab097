"""What a donor offers as the agreed state, before anything of it is fetched; and what is given on once it is here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from peer.exchange import snapshot
from peer.exchange.belief import Standpoint
from peer.exchange.hearsay import nothing_known
from peer.exchange.node import Node
from peer.exchange.snapshot import Wanted, download
from peer.exchange.states import CHUNK, OpenState, States
from peer.held import Shelf
from swarm.chunks import Manifest, chunked
from swarm.proto import coordinator_pb2
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
    wanted = Wanted({b"liar": "liar"}, Standpoint("own", 0, frozenset({"liar"}), say=False), nothing_known)
    assert asyncio.run(download(cast(Node, Donor(offer)), states, wanted, tmp_path, heard)) is None
    assert states.refused == {offer.chunks}
    assert f"the state of round 4 is said to be of {size} bytes" in caplog.text
    assert not list(tmp_path.iterdir())


def test_the_state_of_one_that_names_a_later_round_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was, by everybody, and its members were then those without whom no round could be made."""
    facts = {"available": True, "size": 8, "chunk_size": CHUNK}
    made_by = ["h0", "h1", "h2", "h3"]
    good = pb.Snapshot(**facts, round=5, digest="a" * 64, sha256="1" * 64, chunks=b"h" * 32, made_by=made_by)
    evil = pb.Snapshot(**facts, round=6, digest="e" * 64, sha256="2" * 64, chunks=b"e" * 32, made_by=["evil"])
    donors = {name.encode(): name for name in (*made_by, "evil")}

    async def offer(_node: object, donor: bytes, _at_least: int) -> pb.Snapshot:
        return evil if donor == b"evil" else good

    monkeypatch.setattr(snapshot, "_offer", offer)
    wanted = Wanted(donors, Standpoint("own", 0, frozenset(donors.values()), say=False), nothing_known)
    assert asyncio.run(snapshot._best(cast(Node, None), States(Shelf()), wanted)) == good


@pytest.mark.parametrize("size", [CHUNK, CHUNK // 2])
def test_a_state_that_was_fetched_is_given_on_in_the_chunks_of_all_donors(size: int, tmp_path: Path) -> None:
    """Votes on a state are votes on its chunks."""
    path = tmp_path / "round-4.safetensors"
    path.write_bytes(bytes(CHUNK + 1))

    def said(chunk_size: int) -> Manifest:
        sha256, length, chunks = chunked(path, chunk_size)
        blob = coordinator_pb2.Blob(name="state", sha256=sha256, size=length, chunk_size=chunk_size, chunks=chunks)
        return Manifest.of(blob)

    shelf = Shelf()
    given = asyncio.run(States(shelf).offer(path, "digest", said(size)))
    cast(OpenState, shelf.get(given.sha256)).file.close()
    assert (given.chunk_size, given.digests) == (CHUNK, said(CHUNK).digests)
