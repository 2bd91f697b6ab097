"""Fetching the agreed state from other peers: from any offset, from whichever donor still answers."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from peer.exchange.base import Fetched
from peer.exchange.node import NETWORK_ERRORS, Node
from peer.exchange.protocol import Servicer
from swarm import log
from swarm.errors import CorruptError
from swarm.proto import exchange_pb2 as pb
from swarm.tensorfile import publish, sha256_file, state_digest

logger = log.get(__name__)

_OFFER_SECONDS = 30.0  # a donor writes its state to disk first
_LOOKS = 3  # a round may end between a donor's offer and our word to the leader
_SILENCE_SECONDS = 15.0  # a donor that sends nothing for so long is left


# Tells the leader which round's state is fetched; False when that round has just ended.
Announce = Callable[[int], Awaitable[bool]]


async def download(
    node: Node, donors: Sequence[bytes], at_least: int, folder: Path, announce: Announce
) -> Fetched | None:
    """The state of the furthest donors, the majority's among them, or None when no donor has round `at_least`.

    Equal states are equal files, so a download that breaks off goes on at the same byte with another donor.
    """
    for _ in range(_LOOKS):
        best, sources = await _furthest(node, donors, at_least)
        if best is None or await announce(best.round):
            break
    part = folder / f"{best.sha256}.part" if best else folder
    for donor in sources:
        if best and await _fetch(node, donor, best, part) and await asyncio.to_thread(_verified, part, best):
            path = folder / f"round-{best.round}.safetensors"
            publish(part, path)
            return Fetched(path, best.round, best.digest, tuple(best.made_by))
    return None


async def _furthest(node: Node, donors: Sequence[bytes], at_least: int) -> tuple[pb.Snapshot | None, list[bytes]]:
    """The state to fetch, and who has it, in an order of this peer's own."""
    offers = await asyncio.gather(*(_offer(node, donor, at_least) for donor in donors))
    found = [(offer, donor) for offer, donor in zip(offers, donors, strict=True) if offer is not None]
    if not found:
        return None, []
    votes = Counter(offer.sha256 for offer, _ in found)
    best = max((offer for offer, _ in found), key=lambda offer: (offer.round, votes[offer.sha256]))
    sources = [donor for offer, donor in found if offer.sha256 == best.sha256]
    random.shuffle(sources)
    return best, sources


async def _offer(node: Node, donor: bytes, at_least: int) -> pb.Snapshot | None:
    stub = node.stub(Servicer, donor)
    try:
        offer: pb.Snapshot = await stub.rpc_snapshot(
            pb.SnapshotRequest(at_least_round=at_least), timeout=_OFFER_SECONDS
        )
    except NETWORK_ERRORS as error:
        logger.info("a donor did not answer: %r", error)
        return None
    return offer if offer.available else None


async def _fetch(node: Node, donor: bytes, offer: pb.Snapshot, part: Path) -> bool:
    """Append what is missing of `part`; True when it has the offered length."""
    stub = node.stub(Servicer, donor)
    with part.open("ab") as file:
        try:
            request = pb.SnapshotChunkRequest(sha256=offer.sha256, offset=file.tell())
            stream = aiter(await stub.rpc_snapshot_chunks(request))
            while file.tell() < offer.size:
                chunk = await asyncio.wait_for(anext(stream), _SILENCE_SECONDS)
                node.line.passed(len(chunk.data))
                file.write(chunk.data[: offer.size - file.tell()])
        except (*NETWORK_ERRORS, StopAsyncIteration) as error:
            logger.info("a donor stopped after %d of %d bytes: %r", file.tell(), offer.size, error)
            return False
        file.flush()
        os.fsync(file.fileno())
    return True


def _verified(part: Path, offer: pb.Snapshot) -> bool:
    try:
        if sha256_file(part) == offer.sha256 and state_digest(part) == offer.digest:
            return True
    except CorruptError as error:
        logger.info("%s", error)
    logger.warning("a donor sent a state that does not match its digest; it is thrown away")
    part.unlink()
    return False
