"""This machine's place in the swarm: the DHT process, the P2P transport, and who else is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Any

from peer.doorkeeper import Doorkeeper
from peer.exchange import circuit, guard
from peer.exchange.authorizer import PassAuthorizer
from peer.exchange.living import always
from peer.exchange.nodekey import NodeKey
from peer.exchange.records import Readable, Records, key_of, opened
from peer.exchange.roll import Roll
from peer.exchange.rounds import Member
from peer.line import Line
from swarm import log
from swarm.errors import UnreachableError

guard.prepare()

from hivemind import DHT  # noqa: E402
from hivemind.dht import DHTNode  # noqa: E402
from hivemind.p2p import P2P, P2PDaemonError, P2PHandlerError, PeerID, ServicerBase  # noqa: E402
from hivemind.utils import get_dht_time  # noqa: E402
from hivemind.utils.multiaddr import Multiaddr  # noqa: E402

logger = log.get(__name__)

# What a call to another peer may end with.
NETWORK_ERRORS = (P2PDaemonError, P2PHandlerError, OSError, EOFError, TimeoutError, asyncio.IncompleteReadError)
NOBODY_THERE = P2PDaemonError  # among them: no connection could be made
_START_SECONDS = 20.0
_SETTLE_SECONDS = 0.5
_HANDOVER_SECONDS = 3600.0  # said again every few seconds by who leads, once by who followed


@dataclass(frozen=True)
class Pace:
    """How often a node talks while nothing changes. Seconds."""

    record: float  # how long a member that fell silent is still counted
    refresh: float  # between two looks at the members' records
    hold: float  # how long the leader may keep an answer while the round is open

    @property
    def declare(self) -> float:
        """Between two renewals of the own record."""
        return self.record / 4


BRISK = Pace(10.0, 1.0, 0.0)  # rounds of seconds, in gradient mode
CALM = Pace(30.0, 6.0, 5.0)  # rounds of minutes, over home links that should carry updates and little else


@dataclass(frozen=True)
class NodeOptions:
    """How the node listens and whom it knows. Multiaddrs are libp2p's, e.g. /ip4/10.0.0.2/tcp/4001/p2p/12D3…"""

    run: str
    initial_peers: Sequence[str]
    listen_host: str = "0.0.0.0"
    port: int = 0
    identity_path: str | None = None
    client_mode: bool = False
    pace: Pace = BRISK
    relay: str = ""  # of a node through which others reach this one; empty: they dial it
    announced: Sequence[str] = ()  # where others can dial this node, besides; empty: what libp2p finds
    relays: bool = False  # lets others reach through it those that they cannot dial
    member: str = ""  # its id at the coordinator; empty: its peer id
    lineage: int = 0  # of the run's states: only who is of the same one is seen
    doorkeeper: Doorkeeper | None = None  # lets in who has a pass; with it, `identity_path` is that of the own pass


def start_dht(options: NodeOptions) -> DHT:
    """Start the DHT process and wait until it answers.

    Raises UnreachableError, with the cause, when no node of the swarm can be reached or the port is taken.
    """
    dht = DHT(
        initial_peers=[address for address in _usable(options.initial_peers) if not _is_relayed(address)] or None,
        start=False,
        host_maddrs=[f"/ip4/{options.listen_host}/tcp/{options.port}"],
        identity_path=options.identity_path,
        check_if_identity_free=False,
        # The DHT asks nothing of who needs a relay: so it is the one who connects, and directly where that is possible.
        client_mode=options.client_mode or bool(options.relay),
        use_relay=True,
        startup_timeout=_START_SECONDS,
        announce_maddrs=_announced(options) or None,
        force_reachability="relay" if options.relays else None,
        **_checks(options),
    )
    try:
        dht.run_in_background(await_ready=True, timeout=_START_SECONDS + 5)
    except (P2PDaemonError, RuntimeError, TimeoutError) as error:
        guard.kill_children()
        raise UnreachableError(
            f"The swarm's network could not be entered: {_cause(error, options)}.",
            "Check that the coordinator runs and that no firewall blocks outgoing TCP connections; then join again.",
        ) from error
    return dht


def _checks(options: NodeOptions) -> dict[str, Any]:
    """What the DHT asks of records; and of callers, if there is somebody who looks at passes."""
    if options.doorkeeper is None or options.identity_path is None:
        return {"record_validators": [Readable()]}
    key = NodeKey.load(Path(options.identity_path))
    records = Records(options.run, options.doorkeeper, key)
    return {"record_validators": [Readable(), records], "authorizer": PassAuthorizer(options.doorkeeper, key)}


def _usable(addresses: Iterable[str]) -> list[str]:
    """Those that are multiaddrs of a node: the coordinator passes on what members say of themselves."""
    return [address for address in addresses if _is_of_node(address)]


def _is_of_node(address: str) -> bool:
    try:
        return bool(Multiaddr(address).value_for_protocol("p2p"))
    except Exception:  # of many kinds: it is a stranger's text
        return False


def _announced(options: NodeOptions) -> list[str]:
    return [*([circuit.through(options.relay)] if options.relay else []), *options.announced]


def _entrance(options: NodeOptions) -> PeerID | None:
    known = _usable(options.initial_peers)
    return circuit.node_of(known[0]) if known else None


def _is_relayed(address: str) -> bool:
    return "/p2p-circuit" in address


def _cause(error: Exception, options: NodeOptions) -> str:
    text = str(error)
    if "failed to connect to bootstrap peers" in text:
        first = f"none of {len(options.initial_peers)} known peers answered (first: {options.initial_peers[0]})"
        return first + (", or none lets this peer in" if options.doorkeeper else "")
    return text.removeprefix("Daemon failed to start: ") or type(error).__name__


@dataclass
class Node:
    """A started DHT, its P2P replica in the caller's event loop, and the membership records of one run.

    Every member stores [joined_at, client_mode, active, member, lineage] under its peer id and renews it; a record that
    is not renewed expires. Only who has a pass counts (`roll`), and where there are passes they say when it joined.
    While no other node takes the own record, this peer is cut off: that others' records expire here says nothing then,
    and their members still count, so that a peer without a line never takes itself for the whole swarm.
    """

    dht: DHT
    p2p: P2P
    run: str
    me: Member
    pace: Pace = BRISK
    place: circuit.Place | None = None
    lineage: int = 0
    relays: tuple[bytes, ...] = ()  # nodes that carry payloads for others; see `offer_relay`
    left: dict[str, int] = field(default_factory=dict)  # members that said goodbye, until they are back: in which round
    line: Line = field(default_factory=Line)
    roll: Roll = field(default_factory=Roll)
    entrance: PeerID | None = None  # the node through which this one entered: the coordinator's
    lives: Callable[[bytes], Awaitable[bool]] = always  # False when a member's process is surely gone
    _members: dict[bytes, Member] = field(default_factory=dict)
    _heard: bool = True
    _stale: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def open(cls, dht: DHT, options: NodeOptions) -> Node:
        p2p = await dht.replicate_p2p()
        own = p2p.peer_id
        me = Member(time.time(), own.to_bytes(), options.client_mode, active=False, member=options.member or str(own))
        place = circuit.Place(p2p, options.relay) if options.relay else None
        if place:
            await place.take()
        entrance, roll = _entrance(options), Roll(options.doorkeeper)
        node = cls(dht, p2p, options.run, me, options.pace, place, options.lineage, roll=roll, entrance=entrance)
        roll.look = node.refresh
        return node

    @property
    def id(self) -> bytes:
        return self.me.peer_id

    @property
    def hears(self) -> bool:
        """Whether p2pd's answers, and others' calls, still arrive in this process."""
        reading = self.p2p._client.control._read_task
        return reading is not None and not reading.done()

    def stub(self, servicer: type[ServicerBase], peer: bytes) -> Any:
        """Another node's handlers of that kind, to be called."""
        return servicer.get_stub(self.p2p, PeerID(peer), namespace=self.run)

    def members(self) -> list[Member]:
        """All live members that are known and let in, this one included."""
        others = [member for member in self._members.values() if member.peer_id != self.id]
        return [self.me, *(member for member in others if not self.roll.objection(member.peer_id))]

    def heard_of(self, peer_id: bytes) -> None:
        """Somebody spoke to us; when it is not known as a member, look at the records now."""
        if peer_id != self.id and peer_id not in self._members:
            self._stale.set()

    def maddrs(self) -> list[str]:
        """Where others reach this node: through its relay, else directly; loopback only when there is nothing else."""
        found = [str(address) for address in self.dht.get_visible_maddrs(latest=True)]
        relayed = [address for address in found if _is_relayed(address)]
        return relayed or [address for address in found if "/127.0.0.1/" not in address] or found

    async def activate(self) -> None:
        """Say that this member holds an agreed state and takes part in rounds, then look who else does.

        Everybody writes first and reads then, so of two that come at once at least one sees the other; the second
        look is for the other one. Without this each would be a swarm of its own for a round.
        """
        self.me = replace(self.me, active=True)
        await self.declare()
        for _ in range(2):
            await self.refresh()
            await asyncio.sleep(_SETTLE_SECONDS)
        await self.refresh()

    async def declare(self) -> None:
        value = [self.me.joined_at, self.me.client_mode, self.me.active, self.me.member, self.lineage]
        self._heard = await self._store(value, self.pace.record)

    async def retire(self, round_: int) -> None:
        """Replace the own record by a goodbye, so that nobody waits for this peer, which holds θ_round_."""
        await self._store([self.me.member, round_, self.lineage], 2 * self.pace.record)

    async def _store(self, value: object, seconds: float) -> bool:
        """Whether another node took it. When none did it is kept here, for the first that asks."""
        expires = get_dht_time() + seconds
        for alone in (False, True):
            taken = self.dht.store(
                key_of(self.run, "members"), value, expires, subkey=self.id, return_future=True, exclude_self=not alone
            )
            if await taken:
                return not alone
        return False

    async def refresh(self) -> None:
        """Read the membership records anew."""
        records = await self._records("members")
        self.roll.note_own(self.id)
        found = [member for key, record in records.items() if (member := _parse(key, record, self.lineage))]
        members = [self._dated(member) for member in found if self.roll.names(member.peer_id, member.member)]
        self.me = self._dated(self.me)
        kept = {} if self._heard else self._members
        self._members = {**kept, **{member.peer_id: member for member in members}}
        for key, record in records.items():
            if (gone := _farewell(record, self.lineage)) and self.roll.names(key, gone[0]):
                self.left |= dict([gone])
        for member in members:
            self.left.pop(member.member, None)
        if self.place:
            self.place.meet(self._members.keys() - {self.id})

    def _dated(self, member: Member) -> Member:
        """With what the coordinator says of it, when it came and whether it is on probation: who says it of itself
        would lead at will.
        """
        pass_ = self.roll.shown(member.peer_id)
        return replace(member, joined_at=pass_.since, light=pass_.probation) if pass_ else replace(member, light=False)

    async def _records(self, kind: str) -> dict[Any, object]:
        return await records_of(self.dht, self.run, kind, self.roll)

    async def find_relays(self) -> None:
        """Read anew who carries payloads."""
        records = await self._records("relays")
        self.relays = tuple(sorted(key for key, value in records.items() if isinstance(key, bytes) and value))

    async def handovers(self) -> list[str]:
        """What is said about where the run is led; nothing of it is verified."""
        return [text for text in (await self._records("handover")).values() if isinstance(text, str)]

    async def keep_relays(self) -> None:
        """Read anew who carries payloads, for ever: where updates are gathered."""
        while True:
            try:
                await self.find_relays()
            except (OSError, EOFError) as error:
                logger.warning("relays could not be looked up: %s", error)
            await asyncio.sleep(self.pace.declare)

    async def keep_fresh(self) -> None:
        """Renew the own record and place and read the others' records, for ever."""
        known = [self._keep_entrance(self.entrance)] if self.entrance else []
        await asyncio.gather(self._keep_records(), *([self._keep_place(self.place)] if self.place else known))

    async def _keep_place(self, place: circuit.Place) -> None:
        while True:
            await asyncio.sleep(circuit.RENEW_SECONDS)
            if await place.take():
                await self._know_again(place.relay)

    async def _keep_entrance(self, entrance: PeerID) -> None:
        """Whoever comes next knows the coordinator's node alone. One that was started again knows nobody, and who
        forgot it while it was gone would never speak to it again: there would be two networks.
        """
        while True:
            await asyncio.sleep(self.pace.declare)
            await self._know_again(entrance)

    async def _know_again(self, peer: PeerID) -> None:
        with suppress(OSError, EOFError):
            await self.dht.run_coroutine(partial(_know_again, peer.to_bytes()), return_future=True)

    async def _keep_records(self) -> None:
        now = asyncio.get_running_loop().time
        declared = -inf
        while True:
            try:
                if now() - declared > self.pace.declare:
                    await self.declare()
                    declared = now()
                await self.refresh()
            except (OSError, EOFError) as error:
                logger.warning("membership could not be refreshed: %s", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stale.wait(), self.pace.refresh)
            self._stale.clear()


async def records_of(dht: DHT, run: str, kind: str, roll: Roll) -> dict[Any, object]:
    """What is stored under a kind of record now, by subkey: the id of the node that wrote it, where passes are looked
    at; those are noted. The values may be anything.
    """
    found = await dht.get(key_of(run, kind), latest=True, return_future=True)
    records = found.value if found is not None and isinstance(found.value, dict) else {}
    values = {key: opened(record.value, roll.checks) for key, record in records.items()}
    for key, (_, pass_) in values.items():
        roll.note(key, pass_)
    return {key: value for key, (value, _) in values.items()}


async def _know_again(peer_id: bytes, _dht: DHT, node: DHTNode) -> None:
    """Runs in the DHT's process. The DHT forgets a node that fell silent, and nobody asks a client anything: when that
    was the only node that it knew, it would be alone for ever.
    """
    peer = PeerID(peer_id)
    if await node.protocol.call_ping(peer):
        node.blacklist.register_success(peer)


async def offer_relay(dht: DHT, run: str, relay: bytes) -> None:
    """Say that the node `relay` carries payloads of the run, for as long as a member's record counts."""
    expires = get_dht_time() + CALM.record
    await dht.store(key_of(run, "relays"), True, expires, subkey=relay, return_future=True)


async def announce_handover(dht: DHT, run: str, node: bytes, text: str) -> None:
    """Say where the run is led, to members that cannot ask its coordinator. The text is signed: anyone may say it."""
    expires = get_dht_time() + _HANDOVER_SECONDS
    await dht.store(key_of(run, "handover"), text, expires, subkey=node, return_future=True)


def _farewell(value: object, lineage: int) -> tuple[str, int] | None:
    """The member whose goodbye this is, and its round; None when it is none."""
    match value:
        case [str(member), int(round_), int(said)] if said == lineage:
            return member, round_
    return None


def _parse(key: object, value: object, lineage: int) -> Member | None:
    """A member from the DHT, or None when the record is a goodbye, of another lineage or nonsense."""
    match value:
        case [float(joined_at), bool(client_mode), bool(active), str(member), int(said)] if (
            said == lineage and isinstance(key, bytes)
        ):
            if not isfinite(joined_at):
                return None
            try:
                return Member(joined_at, PeerID(key).to_bytes(), client_mode, active, member)
            except ValueError:
                return None
    return None
