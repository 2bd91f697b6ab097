"""A place at a relay: others reach this peer through it when they cannot dial it. libp2p's circuit relay v2.

p2pd can ask for a place itself (its autorelay), but once it has lost one it does not ask the same relay again for an
hour; see docs/decisions/0008-peers-behind-nat.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from google.protobuf.message import DecodeError

from peer.exchange import guard
from swarm import log
from swarm.proto import circuit_pb2 as pb

guard.prepare()

from hivemind.p2p import P2P, P2PDaemonError, PeerID  # noqa: E402

logger = log.get(__name__)

_HOP = "/libp2p/circuit/relay/0.2.0/hop"
_PING = "/ipfs/ping/1.0.0"  # every libp2p node serves it
_RESERVE = 0
_GRANTED = 100
_ASK_SECONDS = 4.0
_LARGEST = 4096  # bytes of an answer, by the specification
RENEW_SECONDS = 5.0  # a relay that was started again knows no places: so long nobody can reach us at most
_ERRORS = (P2PDaemonError, OSError, EOFError, TimeoutError, DecodeError)


def through(relay: str) -> str:
    """The multiaddr of whoever has a place at the node `relay`."""
    return f"{relay}/p2p-circuit"


def node_of(maddr: str) -> PeerID:
    """The node at whose id the multiaddr ends."""
    return PeerID.from_base58(maddr.rsplit("/", 1)[-1])


class Place:
    """This peer's place at the node with the multiaddr `relay`."""

    def __init__(self, p2p: P2P, relay: str) -> None:
        self.relay = node_of(relay)
        self._p2p = p2p
        self._held = False
        self._met: set[bytes] = set()
        self._meetings: set[asyncio.Task[None]] = set()

    async def take(self) -> bool:
        """Ask for the place, or for more time; False when that did not succeed now."""
        try:
            answer = await asyncio.wait_for(self._ask(), _ASK_SECONDS)
            held = answer.status == _GRANTED
            why = f"status {answer.status}, {answer.limit.data or 'unlimited'} bytes per connection"
        except _ERRORS as error:
            held, why = False, repr(error)
        if held != self._held:
            logger.info("the relay %s: %s", "lets others reach us" if held else "does not help", why)
        self._held = held
        return held

    def meet(self, peers: Iterable[bytes]) -> None:
        """Connect to those who are new. Whom we dial first is met directly if it can be dialled; a connection that
        the other one opens leads through the relay, and stays there.
        """
        for peer in set(peers) - self._met:
            self._met.add(peer)
            task = asyncio.get_running_loop().create_task(self._visit(PeerID(peer)))
            self._meetings.add(task)
            task.add_done_callback(self._meetings.discard)

    async def _visit(self, peer: PeerID) -> None:
        try:
            _, _, writer = await asyncio.wait_for(self._p2p.call_binary_stream_handler(peer, _PING), _ASK_SECONDS)
            writer.close()
        except _ERRORS as error:
            logger.info("a member could not be met: %r", error)

    async def _ask(self) -> pb.Hop:
        _, reader, writer = await self._p2p.call_binary_stream_handler(self.relay, _HOP)
        try:
            message = pb.Hop(type=_RESERVE).SerializeToString()
            writer.write(bytes([len(message)]) + message)
            await writer.drain()
            return pb.Hop.FromString(await reader.readexactly(await _length(reader)))
        finally:
            writer.close()


async def _length(reader: asyncio.StreamReader) -> int:
    """A varint. Raises DecodeError for more than an answer has, before memory is taken for it."""
    length = shift = 0
    while (byte := (await reader.readexactly(1))[0]) & 0x80 and length <= _LARGEST and shift < 64:
        length |= (byte & 0x7F) << shift
        shift += 7
    length |= byte << shift
    if length > _LARGEST:
        raise DecodeError(f"an answer of {length} bytes")
    return length
