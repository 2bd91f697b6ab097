"""The exchange with real peers: leader-led rounds; how updates become one is a `Way`'s work."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from pathlib import Path
from typing import Any

from peer.exchange import guard
from peer.exchange.attempt import for_member, makers_of, unsound
from peer.exchange.average import Average
from peer.exchange.ballot import Ballot
from peer.exchange.base import Applied, Fetched, Phase, Result, Resync, Retry, StateSource, Update, View
from peer.exchange.clipped import Clipped
from peer.exchange.closing import Rules
from peer.exchange.court import Court, claim_of, objection
from peer.exchange.delivery import Delivery, Fallback, Progress
from peer.exchange.handlers import Handlers
from peer.exchange.leader import Leader
from peer.exchange.loop import LoopThread
from peer.exchange.node import NETWORK_ERRORS, NOBODY_THERE, Node, NodeOptions, announce_handover, start_dht
from peer.exchange.options import ExchangeOptions, leader_at, way_of
from peer.exchange.protocol import Servicer
from peer.exchange.reporter import Reporter
from peer.exchange.roll import Passes
from peer.exchange.rounds import evaluator_of, leader_of
from peer.exchange.snapshot import Wanted, download
from peer.exchange.ways import Way
from peer.seals import Notary
from swarm import log
from swarm.chunks import Manifest
from swarm.errors import UnreachableError
from swarm.moments import reach
from swarm.proto import exchange_pb2 as pb

logger = log.get(__name__)

_LOOK_SECONDS = 0.2  # how often one who waits for the leader's decision looks whether it still answers
_CALL_SECONDS = 5.0
_LINGER_SECONDS = 1.5


class SwarmExchange:
    """See `peer.exchange.base.Exchange`. One thread runs the event loop of all network talk."""

    def __init__(
        self, node: Node, servicer: Servicer, leader: Leader, way: Way, rules: Rules, ballot: Ballot, loop: LoopThread
    ) -> None:
        self._node = node
        self._servicer = servicer
        self._leader = leader
        self._way = way
        self._rules = rules
        self._ballot = ballot
        self._loop = loop
        self._delivery = Delivery(node, servicer.shelf)
        self._reporter = Reporter(self._report, rules.closing)
        self.notary: Notary | None = None
        self._lost: set[bytes] = set()
        self._group = pb.Group()  # that of the last round that was applied
        self._made_by: tuple[int, tuple[str, ...]] = (-1, ())  # the members whose group made θ of that round

    @classmethod
    def start(cls, node_options: NodeOptions, options: ExchangeOptions) -> SwarmExchange:
        """Enter the swarm. Call before CUDA is touched and before gRPC is used: hivemind forks.

        Raises UnreachableError.
        """
        dht = start_dht(node_options)
        loop = LoopThread()
        node = loop.run(Node.open(dht, node_options), _CALL_SECONDS)
        leader = leader_at(node, options)
        servicer = Servicer(leader)
        servicer.line = node.line = options.line
        way, handlers = way_of(node, servicer, options)
        if isinstance(leader, Court) and isinstance(way, Clipped):
            leader.recheck = way.recheck
        exchange = cls(node, servicer, leader, way, options.rules, options.ballot, loop)
        exchange.notary = options.notary
        if options.notary and node.roll.checks:
            options.notary.keyring = Passes(node.roll)
        exchange.listen()
        node.lives = exchange.lives
        loop.run(exchange._open(servicer, *handlers), _CALL_SECONDS)
        if options.local:
            loop.spawn(node.keep_relays())
        return exchange

    def listen(self) -> None:
        """From now on others' words are held against what this peer knows."""
        self._leader.lives = self.lives
        hearsay = self._leader.hearsay
        hearsay.makers, hearsay.left = self.made_by, (lambda: self._node.left)
        hearsay.voted = lambda: self._ballot.round
        self._servicer.redirect = self.redirect
        self._servicer.heard_of, self._servicer.made_by = self._node.heard_of, self.made_by

    async def _open(self, *servicers: Any) -> None:
        if not self._node.me.client_mode:
            handlers = Handlers(self._node.roll)
            for servicer in servicers:
                await handlers.put_up(servicer, self._node.p2p, self._node.run)
        await self._node.declare()
        await self._node.refresh()
        self._loop.spawn(self._node.keep_fresh())
        self._loop.spawn(self._reporter.keep_reporting(lambda: self._node.me.active))

    def maddrs(self) -> list[str]:
        """Where others can dial this peer."""

        async def look() -> list[str]:  # in the loop: hivemind's pipe to its DHT process is for one thread only
            return self._node.maddrs()

        return self._loop.run(look(), _CALL_SECONDS)

    def others(self) -> int:
        """How many other live members hold an agreed state."""
        return sum(m.active for m in self._node.members() if m.peer_id != self._node.id)

    def leads(self) -> bool:
        """Whether this peer is the senior member that answers."""
        return not self.redirect()

    def evaluates(self, round_: int) -> bool:
        """By the last round's group, which all its members know alike; before there was one, by who is there."""
        active = [member.peer_id for member in self._node.members() if member.active]
        members = [member.peer_id for member in self._group.members] or active
        return evaluator_of(members, self._group.leader or self._find_leader(), round_) == self._node.id

    def redirect(self) -> bytes:
        """Whom to ask instead when this peer does not lead; else nothing."""
        leader = self._find_leader()
        return b"" if leader == self._node.id else leader

    async def lives(self, peer: bytes) -> bool:
        """Whether a member's process may be there: its machine does not refuse to be called, or cannot be."""
        if any(member.peer_id == peer and member.client_mode for member in self._node.members()):
            return True
        try:
            await self._node.stub(Servicer, peer).rpc_outcome(pb.OutcomeQuery(), timeout=_CALL_SECONDS)
        except NOBODY_THERE:
            return False
        except NETWORK_ERRORS as error:
            logger.debug("a member was asked whether it is there: %r", error)
        return True

    def made_by(self, round_: int) -> tuple[str, ...]:
        """The members whose group made θ of that round; empty when that is not known."""
        known, members = self._made_by
        return members if known == round_ else ()

    def handovers(self) -> list[str]:
        """What the swarm says about where the run is led, unverified; nothing when it cannot be asked."""
        try:
            return self._loop.run(self._node.handovers(), _CALL_SECONDS)
        except NETWORK_ERRORS:
            return []

    def announce_handover(self, text: str) -> None:
        """Tell the swarm where the run is led."""
        with suppress(*NETWORK_ERRORS):
            self._loop.run(announce_handover(self._node.dht, self._node.run, self._node.id, text), _CALL_SECONDS)

    def serve_state(self, source: StateSource) -> None:
        self._servicer.state_source = source
        self._loop.run(self._node.activate(), 2 * _CALL_SECONDS)

    # ── progress ───────────────────────────────────────────────────────────────────────────

    def progress(self, round_: int, samples: int, samples_per_second: float, done: bool = False) -> View:
        if not self._node.dht.is_alive() or not self._node.hears:
            raise UnreachableError("The network process of this peer ended.", "It is being started again.")
        said = pb.Progress(
            round=round_,
            samples=samples,
            samples_per_second=samples_per_second,
            done=done,
            hold_seconds=self._node.pace.hold,
        )
        self._loop.call_soon(lambda: self._speak(said))
        view = self._reporter.view
        heard_now = view.round == round_ and view.phase is not Phase.BEHIND
        if heard_now or view.round > round_:
            return view
        return View(Phase.OPEN, round_, samples, view.members, "")  # the view is of an earlier round

    def _speak(self, said: pb.Progress) -> None:
        self._leader.advance(self._leader.hearsay.works_on(said.round, self._leader.round))
        self._reporter.speak(said)

    async def _report(self, said: pb.Progress) -> pb.SwarmView:
        leader = self._find_leader()
        if leader == self._node.id:
            if (later := self._leader.behind_of) > said.round:
                return pb.SwarmView(phase=pb.BEHIND, round=later, why="others are in a later round")
            return await self._leader.watch(self._node.id, said)
        self._leader.step_down()
        view: pb.SwarmView = await self._ask(leader, "rpc_progress", said, _CALL_SECONDS + said.hold_seconds)
        return view

    def _find_leader(self) -> bytes:
        known = [member for member in self._node.members() if member.peer_id not in self._lost]
        senior = leader_of(known)
        return senior.peer_id if senior else self._node.id

    async def _ask(self, peer: bytes, method: str, message: Any, seconds: float) -> Any:
        """Call a peer; one that does not answer is not asked to lead until its record is seen again."""
        stub = self._node.stub(Servicer, peer)
        try:
            return await getattr(stub, method)(message, timeout=seconds)
        except NETWORK_ERRORS:
            self._lost.add(peer)
            self._loop.later(self._node.pace.record / 2, lambda: self._lost.discard(peer))
            raise

    async def _ask_patiently(self, leader: bytes, method: str, message: Any, seconds: float) -> Any:
        """Wait for the leader's decision, but not for one that does not answer our progress reports either."""
        call = asyncio.ensure_future(self._ask(leader, method, message, seconds))
        while not call.done():
            await asyncio.wait([call], timeout=_LOOK_SECONDS)
            if leader in self._lost and not call.done():
                call.cancel()
                raise TimeoutError("the round's leader stopped answering")
        return call.result()

    # ── the end of a round ───────────────────────────────────────────────────────────────────────

    def exchange(self, update: Update) -> Result:
        return self._loop.run(self.attempt(update), None)

    async def attempt(self, update: Update) -> Result:  # the exchange, within the loop
        try:
            async with asyncio.timeout(self._rules.grace + 3 * self._rules.patience + 2 * _CALL_SECONDS):
                return await self._exchange(update)
        except (*NETWORK_ERRORS, UnreachableError) as error:
            return Retry(f"the exchange failed: {error or type(error).__name__}")

    async def _exchange(self, update: Update) -> Result:
        parcel = await asyncio.to_thread(self._way.parcel, update)
        leader = self._find_leader()
        reach("ready")
        payload = hashlib.sha256(parcel).hexdigest() if parcel else ""
        group = await self._ready(leader, update, payload)
        if group.verdict != pb.GO:
            return Resync(group.why, group.differs) if group.verdict == pb.RESYNC else Retry(group.why)
        reach("exchange")
        await self._node.roll.know(member.peer_id for member in group.members)
        lie = unsound(group, self._node.id, payload)
        if self.notary and not lie:
            lie = objection(self.notary, group, update.round, update.digest)
        average = Average(broken=lie) if lie else await self._way.average(group, update, parcel)
        reach("commit")
        outcome = await self._vote_and_commit(leader, group, update.round, average)
        if outcome.verdict == pb.GO:
            self._group = group
            self._made_by = update.round + 1, makers_of(group)
            return Applied(
                average.mean,
                outcome.norm,
                sum(member.samples for member in group.members),
                len(group.members),
                average.bytes_sent,
                average.bytes_received,
                average.taken,
                average.lost,
                average.sent,
                average.seen,
            )
        if outcome.verdict == pb.RESYNC:
            return Resync(outcome.why, outcome.differs)
        return Retry(outcome.why, finite=math.isfinite(average.norm))

    async def _ready(self, leader: bytes, update: Update, payload: str) -> pb.Group:
        request = pb.ReadyRequest(
            round=update.round,
            samples=update.samples,
            digest=update.digest,
            client_mode=self._node.me.client_mode,
            payload=payload,
            member=self._node.me.member,
            made_by=self.made_by(update.round),
            voted=self._ballot.round,
            full=update.full,
        )
        if self.notary:
            request.seal = await asyncio.to_thread(self.notary.seal, claim_of(request, self._node.id), update.uses)
        if leader == self._node.id:
            return await self._leader.ready(leader, request)
        seconds = self._rules.grace + self._rules.patience + _CALL_SECONDS
        group: pb.Group = await self._ask_patiently(leader, "rpc_ready", request, seconds)
        return group

    async def _vote_and_commit(self, leader: bytes, group: pb.Group, round_: int, average: Average) -> pb.Outcome:
        """With a result this member's vote is given, and is taken back only when it is known that nobody applied."""
        if not average.broken:
            await asyncio.to_thread(self._ballot.cast, round_ + 1)
        outcome = await self._commit(leader, group, round_, average)
        if outcome.open:
            return outcome
        self._leader.remember(
            group.group_id, outcome if outcome.verdict == pb.GO else pb.Outcome(verdict=outcome.verdict)
        )
        if outcome.verdict == pb.RETRY and not average.broken:
            self._ballot.take_back(round_ + 1)
        return outcome

    async def _commit(self, leader: bytes, group: pb.Group, round_: int, average: Average) -> pb.Outcome:
        request = pb.CommitRequest(
            group_id=group.group_id,
            round=round_,
            complete=not average.broken,
            digest=average.digest,
            norm=average.norm,
            why=average.broken,
            rates=[pb.Rate(peer_id=peer, bytes_per_second=rate) for peer, rate in average.rates.items()],
            complaints=average.complaints,
            shares=average.shares,
        )
        if leader == self._node.id:
            return await self._leader.commit(leader, request)
        try:
            seconds = self._rules.patience + _CALL_SECONDS
            outcome: pb.Outcome = await self._ask_patiently(leader, "rpc_commit", request, seconds)
            return outcome
        except NETWORK_ERRORS:
            return await self._ask_the_others(group, request)

    async def _ask_the_others(self, group: pb.Group, request: pb.CommitRequest) -> pb.Outcome:
        """The leader fell silent between commit and outcome: whoever heard it passes it on; nobody heard it: nobody
        applied.
        """
        query = pb.OutcomeQuery(group_id=request.group_id, round=request.round)
        for member in group.members:
            if member.peer_id in (self._node.id, group.leader):
                continue
            try:
                reply: pb.OutcomeReply = await self._ask(member.peer_id, "rpc_outcome", query, _CALL_SECONDS)
            except NETWORK_ERRORS:
                continue
            if reply.known and reply.outcome.verdict == pb.GO:
                return for_member(reply.outcome, request.digest)
        return pb.Outcome(verdict=pb.RETRY, why="the round's leader left before the outcome was known", open=True)

    # ── files ────────────────────────────────────────────────────────────────────────────────────

    def offer_files(self, files: Sequence[Manifest], folder: Path) -> None:
        """Let others have those of the files that are whole in `folder`. Raises CorruptError for one that is not."""
        self._loop.run(self._delivery.offer(files, folder), None)

    def fetch_files(
        self, files: Sequence[Manifest], folder: Path, fallback: Fallback, progress: Progress
    ) -> list[Path]:
        """The files' paths in `folder`, each named by its SHA-256; what is not there comes from peers and `fallback`.

        Others may have what has arrived, from the first chunk on. Raises CorruptError, DiskError, StalledError.
        """
        return self._loop.run(self._delivery.fetch(files, folder, fallback, progress), None)

    # ── state and end ────────────────────────────────────────────────────────────────────────

    def fetch_state(self, at_least: int, folder: Path) -> Fetched | None:
        fetched = self._loop.run(self._fetch_state(at_least, folder), None)
        if fetched:
            self._made_by = fetched.round, fetched.made_by
        return fetched

    async def _fetch_state(self, at_least: int, folder: Path) -> Fetched | None:
        donors = {m.peer_id: m.name for m in self._node.members() if m.active and not m.client_mode}
        donors.pop(self._node.id, None)
        hearsay = self._leader.hearsay
        wanted = Wanted(donors, hearsay.standpoint(at_least), hearsay.ask)
        return await download(self._node, self._servicer.states, wanted, folder, self._announce)

    async def _announce(self, round_: int) -> bool:
        """Ask the leader not to end `round_` without us; False when it just ended."""
        said, leader = pb.Progress(round=round_, catching_up=True), self._find_leader()
        if leader == self._node.id:
            return True
        try:
            view: pb.SwarmView = await self._ask(leader, "rpc_progress", said, _CALL_SECONDS)
        except NETWORK_ERRORS as error:
            logger.info("the leader does not know that this peer is catching up: %r", error)
            return True
        return view.phase != pb.BEHIND

    async def _depart(self) -> None:
        """Say goodbye with the own state's round, once the others know what became of the last that this peer led."""
        await self._leader.told_all(_LINGER_SECONDS)
        await self._node.retire(max(self._leader.round, self._made_by[0]))

    def close(self) -> None:
        try:
            self._loop.run(self._depart(), _LINGER_SECONDS + 1.0)
        except (*NETWORK_ERRORS, FutureTimeoutError) as error:
            logger.debug("goodbye was not heard: %r", error)
        guard.leave()
