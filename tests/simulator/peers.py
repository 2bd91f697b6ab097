"""A virtual peer: the training loop of `peer/training.py` around the real exchange, with hashes in place of tensors."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coordinator.ledger import Claim, Lease
from coordinator.records import Pulse
from peer.exchange.average import Average
from peer.exchange.base import Applied, Phase, Resync, Update
from peer.exchange.belief import Offered, Told, chosen
from peer.exchange.closing import Rules, SampleTarget
from peer.exchange.leader import Leader
from peer.exchange.node import BRISK, NETWORK_ERRORS, Node
from peer.exchange.protocol import Servicer
from peer.exchange.rounds import Appeal, Member
from peer.exchange.swarm import SwarmExchange
from swarm.proto import exchange_pb2 as pb
from swarm.ranges import Range
from tests.simulator.network import COORDINATOR, Dht, Host, Stub

if TYPE_CHECKING:
    from tests.simulator.world import World

GRACE, PATIENCE = 5.0, 15.0
BATCH_SAMPLES = 4
BATCH_SECONDS = 0.5
_AHEAD = 20  # batches that are leased at once
_LOOK = 0.05


@dataclass(frozen=True)
class Theta:
    """An agreed state, as far as it matters here."""

    round: int
    digest: str
    made_by: tuple[str, ...] = ()
    made_from: str = ""  # the digest of the state before

    def after(self, group: pb.Group) -> Theta:
        said = f"{self.digest}/{group.group_id.hex()}"
        makers = tuple(member.member for member in group.members)
        return Theta(self.round + 1, hashlib.sha256(said.encode()).hexdigest()[:16], makers, self.digest)


class VirtualNode(Node):
    """The real one, on a virtual network."""

    hears = True

    def stub(self, servicer: Any, peer: bytes) -> Any:
        return Stub(self.dht._network, self.id, peer)


class VirtualServicer(Servicer):
    """The real one, which also gives the state away."""

    peer: VirtualPeer

    async def rpc_state(self, at_least: int, _context: Any) -> Theta | None:
        theta = self.peer.theta
        return theta if self.peer.node.me.active and theta.round >= at_least else None


class _Loop:
    """What the exchange needs of its thread's event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def call_soon(self, call: Any) -> None:
        self._loop.call_soon(call)

    def later(self, seconds: float, call: Any) -> None:
        self._loop.call_later(seconds, call)


class VirtualWay:
    """See `peer.exchange.ways.Way`: whole when all members of the group reach each other in time."""

    def __init__(self, peer: VirtualPeer) -> None:
        self._peer = peer

    def parcel(self, update: Update) -> bytes:
        return b""

    async def average(self, group: pb.Group, update: Update, parcel: bytes) -> Average:
        peer, world = self._peer, self._peer.world
        here = world.halls.setdefault(group.group_id, {})
        here[peer.id] = list(peer.batches)
        others = [member.peer_id for member in group.members]
        end = world.now + PATIENCE
        while not all(other in here and world.network.reaches(peer.id, other) for other in others if other != peer.id):
            if world.now > end:
                return Average(broken="not all arrived")
            await asyncio.sleep(_LOOK)
        await world.network.travel(peer.id, peer.id)
        weights = [member.samples / sum(m.samples for m in group.members) for member in group.members]
        assert abs(sum(weights) - 1) < 1e-9, "weights sum to one"
        said = f"{update.digest}/{sorted((m.peer_id, m.samples) for m in group.members)}{peer.flaw}"
        peer.flaw = ""
        return Average(digest=hashlib.sha256(said.encode()).hexdigest(), norm=1.0)


class VirtualPeer:
    """One process of one member."""

    def __init__(self, world: World, name: str, generation: int) -> None:
        self.world = world
        self.name = name
        self.id = f"{name}.{generation}".encode()
        self.theta = world.checkpoint
        self._began_at = world.coordinator.state.round
        self.batches: list[int] = []  # computed since θ, by number; each of BATCH_SAMPLES samples
        self.claims: list[Claim] = []  # the leased samples in them
        self._leased: list[Claim] = []  # batches to come
        self._unheard = world.outboxes.setdefault(name, [])  # reports for the coordinator; they outlive the process
        self.session = self.id.decode()
        self.flaw = ""  # makes the next average another one
        self.why = ""
        self.phase = "syncing"  # as it tells the coordinator; until it has a state, and when it is behind
        self.leaving = False
        self.node: VirtualNode
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self) -> None:
        """Enter the swarm."""
        world, now = self.world, self.world.now
        dht = Dht(world.network, self.id)
        self.node = VirtualNode(dht, None, "run", Member(now, self.id, active=False, member=self.name), BRISK)
        rules = Rules(SampleTarget(world.target), GRACE, PATIENCE)
        leader = Leader(self.id, rules, self.node.members, asyncio.get_running_loop().time)
        leader.arbiter = self._ask_coordinator
        servicer = VirtualServicer(leader)
        servicer.peer = self
        way, loop = VirtualWay(self), _Loop()
        self.exchange = SwarmExchange(self.node, servicer, leader, way, rules, world.ballot(self.name), loop)  # type: ignore[arg-type]
        self.exchange.listen()
        leader.hearsay.ask = self._told
        world.network.hosts[self.id] = Host(self.id, servicer)
        reporting = self.exchange._reporter.keep_reporting(lambda: self.node.me.active)
        self._tasks = [
            asyncio.ensure_future(work) for work in (self._live(), self._beat(), self.node.keep_fresh(), reporting)
        ]

    def end(self) -> None:
        """The process is gone, at once."""
        for task in self._tasks:
            task.cancel()
        host = self.world.network.hosts.pop(self.id, None)
        if host:
            host.up = False

    async def _live(self) -> None:
        try:
            await self._take_part()
        except AssertionError as error:
            self.world.broken(error)

    async def _beat(self) -> None:
        """Tell the coordinator that this member lives."""
        self.world.coordinator.join(self.name, self.session, left_in=self.world.parted.pop(self.name, 0))
        while True:
            if self.world.coordinator_reached(self.id):
                self.world.coordinator.beat(self.name, self.session, self._pulse())
                self._report_all()
            await asyncio.sleep(1.0)

    def _pulse(self) -> Pulse:
        """Who holds no state yet says how far the run is."""
        if self.node.me.active:
            return Pulse(self.phase, round=self.theta.round, digest=self.theta.digest)
        return Pulse(self.phase, round=self._began_at)

    def _report_all(self) -> None:
        report = self.world.coordinator.report
        self._unheard[:] = [
            (theta, claims)
            for theta, claims in self._unheard
            if not report(self.name, self.session, theta.round, theta.digest, claims)
        ]

    def _lease(self) -> Claim | None:
        """A batch of leased samples; more than one is leased ahead."""
        if not self._leased and self.world.coordinator_reached(self.id):
            lease = self.world.coordinator.lease(self.name, self.session, _AHEAD * BATCH_SAMPLES)
            self._leased = list(_batches(lease)) if lease else []
        return self._leased.pop(0) if self._leased else None

    async def _take_part(self) -> None:
        await self.node.declare()
        await self.node.refresh()
        await self._await_others()
        self.theta = await self._later_state(self.theta.round + 1) or self.theta
        await self.node.activate()
        while not self.leaving:
            await self._step()
        self._hand_over()
        self.world.parted[self.name] = self.theta.round
        await self.exchange._depart()
        self._leave()
        self.end()

    def _leave(self) -> None:
        """As the supervisor says it, when the worker has ended; it knows only by trying whether it is heard."""
        if self.world.coordinator_reached(self.id):
            self._report_all()
            self.world.coordinator.leave(self.name, self.session)

    async def _await_others(self) -> None:
        end = self.world.now + 20.0
        while self.world.known_live(self.id) and not self.exchange.others() and self.world.now < end:
            await asyncio.sleep(0.2)

    async def _step(self) -> None:
        host = self.world.network.hosts[self.id]
        while host.frozen:
            await asyncio.sleep(_LOOK)
        view = self.exchange.progress(self.theta.round, len(self.batches) * BATCH_SAMPLES, 8.0)
        self.why = view.why
        self.phase = "syncing" if view.phase is Phase.BEHIND else "training"
        if view.phase is Phase.BEHIND:
            await self._catch_up()
        elif view.phase is Phase.CLOSING:
            await self._end_round()
        elif claim := self._lease():
            promised = (len(self.batches) + 1) * BATCH_SAMPLES
            self.exchange.progress(self.theta.round, promised, 8.0)
            await asyncio.sleep(BATCH_SECONDS)
            self.batches.append(self.world.next_batch())
            self.claims.append(claim)
        else:
            self.why = "there is nothing to lease"
            await asyncio.sleep(_LOOK)

    async def _end_round(self) -> None:
        update = Update(self.theta.round, self.theta.digest, len(self.batches) * BATCH_SAMPLES, {})
        result = await self.exchange.attempt(update)
        if isinstance(result, Applied):
            after = self.theta.after(self.exchange._group)
            self._unheard.append((after, self.claims))
            self.theta, self.batches, self.claims = after, [], []
            self.world.applied(self, after, self.exchange._group)
            if after.round % 3 == 0:
                self._hand_over()
        elif isinstance(result, Resync):
            self.why = result.why
            await self._catch_up()
        else:
            self.why = result.why
            await asyncio.sleep(0.1)

    def _hand_over(self) -> None:
        """Bring the coordinator what it has not heard, and as the leader the state, too."""
        world, theta = self.world, self.theta
        if world.coordinator_reached(self.id):
            self._report_all()
            if self.exchange.leads():
                world.brought[theta.digest] = theta
                world.coordinator.checkpoint(self.name, self.session, theta.round, theta.digest)

    async def _catch_up(self) -> None:
        best = await self._later_state(self.theta.round)
        newest = self.world.checkpoint if self.world.coordinator_reached(self.id) else None
        if best is None or (best.round <= self.theta.round and best.digest == self.theta.digest):
            best = newest if newest and newest.round > self.theta.round else None
        if best is None:
            await asyncio.sleep(1.0)
            return
        await self.exchange._announce(best.round)
        await asyncio.sleep(0.5)
        self.theta, self.batches, self.claims = best, [], []
        self.exchange._made_by = best.round, best.made_by

    async def _later_state(self, at_least: int) -> Theta | None:
        """As `peer.exchange.snapshot` chooses it."""
        stand = self.exchange._leader.hearsay.standpoint(at_least)
        offers = await self._offers(at_least)
        best = chosen(offers, stand, await self._told())
        if best is None:
            return None
        if not stand.say:
            self.exchange._made_by = best.round, best.made_by
        return Theta(best.round, best.digest, best.made_by)

    async def _told(self) -> Told:
        if not self.world.coordinator_reached(self.id):
            return Told()
        return self.world.coordinator.told()

    async def _ask_coordinator(self, round_: int, appeal: Appeal) -> bool:
        await self.world.network.travel(self.id, COORDINATOR)
        return self.world.coordinator_reached(self.id) and self.world.coordinator.grant(
            self.name, self.session, round_, appeal
        )

    async def _offers(self, at_least: int) -> list[Offered]:
        donors = [m for m in self.node.members() if m.active and m.peer_id != self.id]
        found = await asyncio.gather(*(self._offer(donor, at_least) for donor in donors))
        return [offer for offer in found if offer]

    async def _offer(self, donor: Member, at_least: int) -> Offered | None:
        try:
            theta: Theta | None = await self.node.stub(Servicer, donor.peer_id).rpc_state(at_least)
        except NETWORK_ERRORS:
            return None
        return Offered(donor.name, theta.round, theta.digest, b"", theta.made_by) if theta else None


def _batches(lease: Lease) -> Iterator[Claim]:
    for start in range(lease.range.start, lease.range.stop, BATCH_SAMPLES):
        yield Claim(lease.id, Range(start, start + BATCH_SAMPLES).overlap(lease.range))
