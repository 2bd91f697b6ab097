"""Virtual peers on a virtual network, the faults that befall them, and what must hold whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args
from unittest.mock import patch

from coordinator.ledger import Claim
from peer.exchange import node
from peer.exchange.ballot import Ballot
from swarm.proto import exchange_pb2 as pb
from tests.simulator.clock import VirtualLoop
from tests.simulator.coordinator import VirtualCoordinator
from tests.simulator.network import COORDINATOR, Network
from tests.simulator.peers import BATCH_SAMPLES, Theta, VirtualPeer

Kind = Literal["kill", "leave", "freeze", "cut", "split", "slow", "away", "differ", "lie"]
KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "lie")  # that may befall any swarm
_BACK_SECONDS = 3.0  # a killed peer is started again after this


@dataclass(frozen=True)
class Fault:
    """At `at` seconds something happens to peers `who` (numbers), for `seconds`."""

    at: float
    kind: Kind
    who: tuple[int, ...]
    seconds: float = 10.0


class World:
    """One swarm's life. Raises AssertionError as soon as an invariant is broken."""

    def __init__(self, peers: int, seed: int) -> None:
        self.network = Network(seed)
        self.target = BATCH_SAMPLES * 2 * peers
        self.brought = {"start": Theta(0, "start")}  # to the coordinator, by digest
        self.states: dict[int, str] = {0: "start"}  # the digest of every θ_r that anybody reached by a round
        self.holders: dict[int, set[bytes]] = {}  # the processes that reached it
        self.groups: dict[int, pb.Group] = {}  # that made it
        self.overtaken: dict[str, int] = {}  # states that count nothing, since others were granted their round
        self.outboxes: dict[str, list[tuple[Theta, list[Claim]]]] = {}  # by member
        self.parted: dict[str, int] = {}  # by member, in which round its last process said goodbye; on its disk
        self.voted: dict[str, int] = {}  # what each member's ballot keeps on its disk
        self.halls: dict[bytes, dict[bytes, list[int]]] = {}  # the batches that came together, by group and peer
        self.counted: dict[int, bytes] = {}  # batch -> the group in which it was applied
        self.peers: dict[int, VirtualPeer] = {}
        self.rounds_of: dict[bytes, list[int]] = {}
        self.coordinator = VirtualCoordinator(lambda: self.now, self._went_back, self._granted)
        self._broken: asyncio.Future[None]
        self._count = peers
        self._generations = 0
        self._batches = 0
        self._loop = VirtualLoop()

    @property
    def now(self) -> float:
        return self._loop.now

    def run(self, faults: Iterable[Fault], seconds: float, calm: float = 120.0) -> None:
        """Let faults happen for `seconds`, then let all heal, and see that the swarm is one and goes on."""
        asyncio.set_event_loop(None)
        try:
            with patch.object(node, "get_dht_time", lambda: self.now):
                self._loop.run_until_complete(self._run(list(faults), seconds, calm))
        finally:
            self._loop.run_until_complete(_end_all())
            self._loop.close()

    async def _run(self, faults: list[Fault], seconds: float, calm: float) -> None:
        self._broken = self._loop.create_future()
        story = asyncio.ensure_future(self._tell_story(faults, seconds, calm))
        await asyncio.wait([story, self._broken], return_when=asyncio.FIRST_COMPLETED)
        (story if story.done() else self._broken).result()

    def broken(self, error: AssertionError) -> None:
        """An invariant does not hold: the story ends."""
        if not self._broken.done():
            self._broken.set_exception(error)

    async def _tell_story(self, faults: list[Fault], seconds: float, calm: float) -> None:
        for number in range(self._count):
            self._start(number)
        tasks = [asyncio.ensure_future(self._befall(fault)) for fault in faults if fault.at < seconds]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        self._heal()
        await asyncio.sleep(calm / 2)
        before = max(self.states)
        await asyncio.sleep(calm / 2)
        self._must_be_one(before)

    # ── what peers ask of it ───────────────────────────────────────────────────────────────────

    def next_batch(self) -> int:
        self._batches += 1
        return self._batches

    def ballot(self, member: str) -> Ballot:
        """What a process of that member starts with."""
        return Ballot(self.voted.get(member, 0), partial(self.voted.__setitem__, member))

    def known_live(self, own: bytes) -> bool:
        """Whether the coordinator names other members to one who joins."""
        return any(peer.id != own and peer.node.me.active for peer in self.peers.values())

    def coordinator_reached(self, own: bytes) -> bool:
        return self.network.reaches(own, COORDINATOR)

    def applied(self, peer: VirtualPeer, theta: Theta, group: pb.Group) -> None:
        """A peer goes from one round to the next, in which no state is made from one that was overruled."""
        assert theta.made_from not in self.overtaken, f"{self.now:.1f} s: {peer.name} goes on from a void state"
        known = self.states.get(theta.round, theta.digest)
        if known != theta.digest and self._is_overruled(theta, {peer.name}):
            self.overtaken[theta.digest] = theta.round
            return
        if known != theta.digest and self._is_overruled(theta, _names(self.holders[theta.round])):
            self.overtaken[known] = theta.round
            self._forget(theta.round)
        if self._is_lost(theta.round):
            self._forget(theta.round)
        known = self.states.setdefault(theta.round, theta.digest)
        assert known == theta.digest, f"{self.now:.1f} s: two states of round {theta.round}"
        self.holders.setdefault(theta.round, set()).add(peer.id)
        self.groups[theta.round] = group
        done = self.rounds_of.setdefault(peer.id, [])
        assert not done or theta.round > done[-1], f"{peer.name} did round {theta.round} again"
        done.append(theta.round)
        for member in group.members:
            for batch in self.halls[group.group_id][member.peer_id]:
                first = self.counted.setdefault(batch, group.group_id)
                assert first == group.group_id, f"batch {batch} of {member.peer_id!r} is in two rounds"

    def _is_overruled(self, theta: Theta, holders: set[str]) -> bool:
        """Whether another part was granted the round that they made: a leader decided, and those on its side heard it,
        while the others, cut off, asked the coordinator.
        """
        granted = self.coordinator.state.grants.get(theta.round - 1, frozenset())
        return bool(granted) and not granted & holders

    def _forget(self, round_: int) -> None:
        """The state that was reached there is no part of the run, nor are the batches in it."""
        gone = self.groups.pop(round_, pb.Group()).group_id
        self.counted = {batch: group for batch, group in self.counted.items() if group != gone}
        self.states.pop(round_, None)
        self.holders[round_] = set()

    def _is_lost(self, round_: int) -> bool:
        """Whether everybody who knew of θ_round_ is gone: its processes ended before the coordinator heard of it."""
        poll = self.coordinator.state.votes.get(round_ - 1)
        heard = poll is not None and self.states.get(round_) in poll.named
        return not heard and not any(holder in self.network.hosts for holder in self.holders.get(round_, ()))

    @property
    def checkpoint(self) -> Theta:
        """The newest that the coordinator has taken: one that was brought may have waited for others' words."""
        return self.brought[self.coordinator.state.latest.digest]

    def _went_back(self, round_: int) -> None:
        """Nobody held a later state: what came after it is no part of the run any more."""
        self.states = {number: digest for number, digest in self.states.items() if number <= round_}

    def _granted(self, round_: int, live: set[str]) -> None:
        """What later states there are, the coordinator believes lost: it heard nobody who holds one for so long."""
        holders = {name for r, who in self.holders.items() if r > round_ for name in _names(who)}
        if not holders & live:
            self._went_back(round_)

    # ── faults ─────────────────────────────────────────────────────────────────────────────────

    async def _befall(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        numbers = sorted({who % self._count for who in fault.who})
        await getattr(self, f"_{fault.kind}")(numbers, fault.seconds)

    async def _kill(self, numbers: list[int], seconds: float) -> None:
        for number in numbers:
            self.peers[number].end()
        await asyncio.sleep(_BACK_SECONDS + seconds)
        self._restart(numbers)

    async def _leave(self, numbers: list[int], seconds: float) -> None:
        for number in numbers:
            self.peers[number].leaving = True
        await asyncio.sleep(seconds + 30)
        self._restart(numbers)

    async def _freeze(self, numbers: list[int], seconds: float) -> None:
        hosts = [self.network.hosts[self.peers[n].id] for n in numbers if self.peers[n].id in self.network.hosts]
        for host in hosts:
            host.frozen = True
        await asyncio.sleep(seconds)
        for host in hosts:
            host.frozen = False

    async def _cut(self, numbers: list[int], seconds: float) -> None:
        """The first of them and each other one do not reach each other; all else do."""
        first, *others = [self.peers[number].id for number in numbers]
        cuts = {frozenset((first, other)) for other in others or [COORDINATOR]}
        self.network.cuts |= cuts
        await asyncio.sleep(seconds)
        self.network.cuts -= cuts

    async def _split(self, numbers: list[int], seconds: float) -> None:
        """They are on one side, all others and the coordinator on the other."""
        self.network.sides = {peer.id: int(number in numbers) for number, peer in self.peers.items()}
        await asyncio.sleep(seconds)
        self.network.sides = {}

    async def _slow(self, numbers: list[int], seconds: float) -> None:
        slow = {self.peers[number].id for number in numbers}
        self.network.slow |= slow
        await asyncio.sleep(seconds)
        self.network.slow -= slow

    async def _away(self, _numbers: list[int], seconds: float) -> None:
        """The coordinator is gone."""
        self.network.hosts[COORDINATOR].up = False
        await asyncio.sleep(seconds)
        self.network.hosts[COORDINATOR].up = True
        self.coordinator.back()

    async def _differ(self, numbers: list[int], _seconds: float) -> None:
        for number in numbers:
            self.peers[number].flaw = "bit"

    def _start(self, number: int) -> None:
        self._generations += 1
        self.peers[number] = VirtualPeer(self, f"p{number}", self._generations)
        self.peers[number].start()

    def _restart(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if self.peers[number].id not in self.network.hosts and self.network.hosts[COORDINATOR].up:
                self._start(number)

    def _heal(self) -> None:
        self.network.sides, self.network.cuts, self.network.slow = {}, set(), set()
        for host in self.network.hosts.values():
            host.up, host.frozen = True, False
        self._restart(self.peers)

    def _must_be_one(self, before: int) -> None:
        """After the calm: all are in the same round or one behind, and rounds went on."""
        newest = max(self.states)
        here = [peer for peer in self.peers.values() if peer.id in self.network.hosts]
        told = {peer.name: (peer.theta.round, peer.why) for peer in here}
        assert not here or newest >= before + 3, f"the swarm stands still at round {newest}: {told}"
        for peer in here:
            assert peer.theta.round >= newest - 2, f"{peer.name} is left behind round {newest}: {told}"
            assert self.states[peer.theta.round] == peer.theta.digest, f"{peer.name} holds another state"
        for entry in self.coordinator.entries.values():
            group = self.groups.get(entry.round + 1, pb.Group())
            assert entry.member in [member.member for member in group.members], f"{entry} is in no state"


def _names(processes: Iterable[bytes]) -> set[str]:
    """The members whose processes these are."""
    return {process.decode().partition(".")[0] for process in processes}


async def _end_all() -> None:
    """Cancel every task, and wait until none is left."""
    own = asyncio.current_task()
    while others := [task for task in asyncio.all_tasks() if task is not own]:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
