"""Fetching the agreed state: its chunks from all members that hold it, at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from peer.exchange.base import Fetched
from peer.exchange.belief import Offered, Standpoint, Told, chosen
from peer.exchange.delivery import Fetching
from peer.exchange.node import NETWORK_ERRORS, Node
from peer.exchange.protocol import Servicer
from peer.exchange.states import CHUNK, States
from peer.held import Part
from swarm import log
from swarm.chunks import Manifest
from swarm.errors import CorruptError, StalledError, from_os_error
from swarm.proto import coordinator_pb2
from swarm.proto import exchange_pb2 as pb
from swarm.tensorfile import publish, state_digest

logger = log.get(__name__)

_OFFER_SECONDS = 30.0  # a donor writes its state to disk first
_OTHERS_SECONDS = 2.0  # for the other donors, once most have answered: one that is silent must not make all too late
_LOOKS = 3  # a round may end between a donor's offer and our word to the leader
_PATIENCE_SECONDS = 30.0  # without a chunk: then others may hold a later state
_LARGEST = 1 << 42  # bytes: far beyond any state

Found = TypeVar("Found")

# Tells the leader which round's state is fetched; False when that round has just ended.
Announce = Callable[[int], Awaitable[bool]]


@dataclass(frozen=True)
class Wanted:
    """Which state is fetched: of the round `at.round` or a later one, from these donors, whose members are named. What
    is believed of them follows from `at`, and from what the coordinator knows.
    """

    donors: Mapping[bytes, str]
    at: Standpoint
    ask: Callable[[], Awaitable[Told]]


async def download(node: Node, states: States, wanted: Wanted, folder: Path, announce: Announce) -> Fetched | None:
    """The state that is wanted, or None when nobody offers one that is believed (`peer.exchange.belief`).

    Equal states are equal files, so its chunks come from all who hold it, and what is here when a download breaks off
    is there the next time. Others may have what has arrived. Raises DiskError.
    """
    best = None
    for _ in range(_LOOKS):
        best = await _best(node, states, wanted)
        if best is None or await announce(best.round):
            break
    try:
        path = await _fetch(node, states, best, folder) if best else None
    except OSError as error:
        raise from_os_error(error, "fetching the agreed state") from error
    return Fetched(path, best.round, best.digest, tuple(best.made_by)) if best and path else None


async def _best(node: Node, states: States, wanted: Wanted) -> pb.Snapshot | None:
    """The offer to take."""
    telling = asyncio.ensure_future(wanted.ask())
    answers = await first_offers([_named_offer(node, *donor, wanted.at.round) for donor in wanted.donors.items()])
    offers = {member: offer for member, offer in answers if offer.chunks not in states.refused}
    said = [
        Offered(member, offer.round, offer.digest, offer.sha256.encode() + offer.chunks, tuple(offer.made_by))
        for member, offer in offers.items()
    ]
    found = chosen(said, wanted.at, await telling)
    return offers[found.member] if found else None


async def _named_offer(node: Node, donor: bytes, member: str, at_least: int) -> tuple[str, pb.Snapshot] | None:
    offer = await _offer(node, donor, at_least)
    return (member, offer) if offer else None


async def first_offers(
    asked: Sequence[Coroutine[Any, Any, Found | None]], others: float = _OTHERS_SECONDS
) -> list[Found]:
    """The offers that come within `others` seconds after half of those asked have answered: fewer decide nothing."""
    waiting, found, end = {asyncio.ensure_future(one) for one in asked}, list[Found](), math.inf
    loop = asyncio.get_running_loop()
    while waiting and loop.time() < end:
        left = end - loop.time() if end < math.inf else None
        done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        found += [offer for one in done if (offer := one.result()) is not None]
        if 2 * len(waiting) <= len(asked):
            end = min(end, loop.time() + others)
    for one in waiting:
        one.cancel()
    return found


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


async def _fetch(node: Node, states: States, offer: pb.Snapshot, folder: Path) -> Path | None:
    """The file, once it is here and holds what it was offered as; None when it does not come. Raises OSError."""
    try:
        part = Part(_manifest(offer), folder)
        path = await _fill(node, states, part, offer, folder)
    except CorruptError as error:
        logger.warning("a donor offered what is no state of the run; it is not used: %s", error)
        states.refused.add(offer.chunks)
        return None
    except StalledError as error:
        logger.info("%s", error)
        return None
    await states.offer(path, offer.digest, part.held.manifest)
    return path


async def _fill(node: Node, states: States, part: Part, offer: pb.Snapshot, folder: Path) -> Path:
    """Raises CorruptError, StalledError, OSError."""
    await asyncio.to_thread(_forget_others, folder, part)
    try:
        if not await asyncio.to_thread(part.open):
            raise StalledError(f"{part.held.path} is in use.")
        states.shelf.put(part.held)
        await Fetching(node, part, None, lambda _: None, _PATIENCE_SECONDS).run()
        await asyncio.to_thread(part.finish)
        return await asyncio.to_thread(_named, part.held.path, offer)
    finally:
        states.shelf.drop(part.held.manifest.sha256)
        part.close()


def _manifest(offer: pb.Snapshot) -> Manifest:
    """Raises CorruptError for chunks that do not make up the file, and for a size that no state has: what the disk
    says to that would end the join.
    """
    name = f"state of round {offer.round}"
    if offer.size > _LARGEST:
        raise CorruptError(f"the {name} is said to be of {offer.size} bytes")
    if not 0 < offer.chunk_size <= CHUNK:
        raise CorruptError(f"the {name} is offered in chunks of {offer.chunk_size} bytes")
    blob = coordinator_pb2.Blob(
        name=name, sha256=offer.sha256, size=offer.size, chunk_size=offer.chunk_size, chunks=offer.chunks
    )
    return Manifest.of(blob)


def _forget_others(folder: Path, part: Part) -> None:
    """What is left of other states, and of this one when a process was killed before it had its name."""
    (folder / part.held.manifest.sha256).unlink(missing_ok=True)
    for other in folder.glob("*.part"):
        if other != part.held.path:
            other.unlink()


def _named(found: Path, offer: pb.Snapshot) -> Path:
    """Give the file the name of a state. Raises CorruptError when it holds another one than was offered."""
    found.with_name(f"{found.name}.stamp").unlink(missing_ok=True)
    if state_digest(found) != offer.digest:
        found.unlink()
        raise CorruptError(f"the state of round {offer.round} has another digest than was said")
    path = found.with_name(f"round-{offer.round}.safetensors")
    publish(found, path)
    return path
