"""The course of a rehearsal: round after round of one drawn swarm, until enough was seen of it."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from peer.exchange.rounds import Appeal, Form, Quorum, Reopen
from swarm.cli.rehearsal.books import Books
from swarm.cli.rehearsal.forming import Decision, Hall
from swarm.cli.rehearsal.peers import Presence, VirtualPeer, drawn
from swarm.cli.rehearsal.plan import Plan
from swarm.cli.rehearsal.seen import Seen
from swarm.cli.rehearsal.travel import Trip, way_of
from swarm.cli.rehearsal.work import Work, work
from swarm.units import size

_TALK = 0.15  # seconds of a round for looks at the clock and at each other's words, beside the messages' way
_MESSAGES = 4  # there and back in a round: what was done, ready, the exchange's start, the result
_TRIES = 20  # of one round in a row
_FIRST_ROUNDS = 3  # while all begin; they are not counted
_PATIENCE_PART = 3.0  # of the exchange's patience, that gradient mode waits for a sender


@dataclass(frozen=True)
class Group:
    """Those who exchange, the leader first, and since when."""

    members: Sequence[VirtualPeer]
    late: Collection[VirtualPeer]
    work: Work
    since: float

    @property
    def senders(self) -> list[VirtualPeer]:
        return [peer for peer in self.members if self.samples(peer)]

    def samples(self, peer: VirtualPeer) -> int:
        """What it did in this round; a guest nothing."""
        part = self.work.parts.get(peer.number)
        return part.samples if part else 0


class Stage:
    """One swarm, drawn from a seed. `seen` is what was seen of it."""

    def __init__(self, plan: Plan, seed: int) -> None:
        rng = random.Random(seed)
        self.seen = Seen()
        self._plan = plan
        self._peers = drawn(plan, rng)
        self._presence = Presence(plan.swarm, rng)
        self._books = Books(plan, rng)
        self._way = way_of(plan)
        self._now = 0.0
        self._round = 0
        self._makers: tuple[str, ...] = ()
        self._trouble = "a round needs more peers than there are"  # why the last try of a round failed
        self._upload = ("", 0, 0.0)  # a checkpoint on its way: what names it, its round, when it is here

    def run(self, seconds: float, fewest: int, most: int) -> Seen:
        """For so long, but no fewer and no more rounds than these."""
        for peer in self._peers:
            self._presence.begin(peer)
        for _ in range(_FIRST_ROUNDS):
            self._make_round()
        self.seen, began = Seen(why=self.seen.why), self._now
        while not self.seen.why and self.seen.rounds < (most if self._now - began < seconds else fewest):
            self._make_round()
        self.seen.seconds = self._now - began
        self.seen.lease = median(self._books.lent or [0])
        return self.seen

    def _make_round(self) -> None:
        """Try until one is made, or it is clear that none will be."""
        done: Mapping[int, int] = {}
        began = self._now
        for _ in range(_TRIES):
            if self.seen.why:
                return
            self._come_and_go()
            found = self._group(done)
            if isinstance(found, Group):
                trip = self._way(found.members, found.senders)
                if self._holds(found, trip):
                    self._apply(found, trip, began)
                    return
                done = {peer.number: found.samples(peer) for peer in found.members if peer.until > self._now}
            else:
                done = found
        self.seen.why = self._trouble

    def _come_and_go(self) -> None:
        for peer in self._peers:
            while peer.until <= self._now:
                self._presence.again(peer, self._fetch_seconds(peer))
                self.seen.states += self._plan.state

    def _fetch_seconds(self, peer: VirtualPeer) -> float:
        """Of a state, from all who hold it."""
        up = sum(other.up for other in self._peers if other is not peer and other.holds(self._now))
        return self._plan.state / min(peer.down, up or peer.down)

    # ── until a group is formed ────────────────────────────────────────────────────────────────

    def _group(self, done: Mapping[int, int]) -> Group | Mapping[int, int]:
        """The group, or, when none comes of this try, what its peers have done."""
        found = work(self._plan, self._peers, self._now, done)
        hall = Hall.of(self._plan, self._peers, found)
        if not hall.working:
            return self._stall(done)
        for now in hall.moments():
            decision = hall.decided(now, Quorum(round=self._round), self._makers)
            if isinstance(decision, Appeal):
                decision = self._appeal(hall, decision, now)
            if isinstance(decision, Form):
                return self._formed(hall, decision, now)
            if isinstance(decision, Reopen):
                self.seen.waiting += now - hall.closes
                self._now = now
                return {peer.number: hall.part(peer).samples for peer in hall.ready(now)}
        self._now = now
        return self._stall({peer.number: hall.part(peer).samples for peer in hall.ready(now)})

    def _appeal(self, hall: Hall, appeal: Appeal, now: float) -> Decision:
        """Ask the coordinator; what is decided with its answer."""
        self._books.present([peer for peer in self._peers if peer.here(now) or peer is hall.leader], self._round, now)
        if not self._books.grant(hall.leader, self._round, appeal.members, appeal.blind, now):
            return appeal
        return hall.decided(now, Quorum(granted=frozenset(appeal.members), round=self._round), self._makers)

    def _formed(self, hall: Hall, form: Form, now: float) -> Group:
        chosen = set(form.members)
        members = [peer for peer in hall.ready(now) if peer.id in chosen]
        late = {peer for peer in hall.working if peer.id not in chosen}
        own = max(hall.part(peer).ready for peer in members if hall.part(peer).samples)
        self.seen.waiting += max(0.0, now - max(own, hall.closes))
        return Group(members, late, hall.work, now)

    def _stall(self, done: Mapping[int, int]) -> Mapping[int, int]:
        """Too few are here: until somebody comes or goes."""
        changes = [at for peer in self._peers for at in (peer.enters, peer.until) if self._now < at < float("inf")]
        if not changes:
            self.seen.why = self._trouble
            return done
        self.seen.stalled += min(changes) - self._now
        self._now = min(changes)
        return done

    # ── the exchange and what comes of it ──────────────────────────────────────────────────────

    def _holds(self, group: Group, trip: Trip) -> bool:
        """Whether the exchange succeeds; when somebody goes meanwhile, it is tried again without it."""
        patience, ends = self._plan.spec.exchange.timeout_seconds, group.since + trip.seconds
        self.seen.longest = max(self.seen.longest, trip.seconds)
        leaves = min(peer.until for peer in group.members)
        if leaves >= ends and trip.seconds <= patience:
            return True
        waited = patience
        if leaves < ends:
            self._trouble = "somebody goes in the middle of each exchange"
            waited = patience if self._plan.local else leaves - group.since + patience / _PATIENCE_PART
        else:
            self._trouble = (
                f"an exchange of {size(self._plan.payload)} among {len(group.members)} takes {trip.seconds:.0f} s on "
                f"these links, and fails after exchange.timeout_seconds = {patience:g}"
            )
        self._now = group.since + min(patience, waited)
        self.seen.broken += self._now - group.since
        return False

    def _apply(self, group: Group, trip: Trip, began: float) -> None:
        speed, senders = self._plan.speed, group.senders
        talk = _TALK + _MESSAGES * self._plan.swarm.latency
        end = group.since + talk + trip.seconds + speed.settle + speed.merge * max(0, len(senders) - 1)
        members = set(group.members)
        here = [peer for peer in self._peers if peer.here(end) or peer in members]
        self._books.present(here, self._round, end)
        claims = [self._books.lease(peer, group.samples(peer), end) for peer in group.members]
        self._round += 1
        self.seen.samples += self._books.report(self._round, group.members, claims, end)
        self._count(group, trip, [sum(len(claim.range) for claim in own) for own in claims])
        self._note_presence(began, end)
        self._makers = tuple(peer.name for peer in group.members)
        self._begin_next(group, end)
        self._checkpoint(group.members[0], end)
        self._now = end

    def _count(self, group: Group, trip: Trip, samples: Sequence[int]) -> None:
        seen, members = self.seen, group.members
        seen.rounds += 1
        seen.seats += len(members)
        seen.useful += sum(count for peer, count in zip(members, samples, strict=True) if not peer.lies)
        seen.computing += sum(count / peer.rate for peer, count in zip(members, samples, strict=True))
        seen.sent += sum(trip.sent)
        seen.received += sum(trip.received)
        seen.exchanging += trip.seconds
        seen.late += len(group.late)
        seen.short += sum(part.short for part in group.work.parts.values())
        seen.liars = max(seen.liars, sum(peer.lies for peer in members) / len(members))

    def _note_presence(self, began: float, end: float) -> None:
        self.seen.present += sum(max(0.0, min(p.until, end) - max(p.since, began)) for p in self._peers)

    def _begin_next(self, group: Group, end: float) -> None:
        """Where everybody goes on: with overlap, its next round began when its update departed."""
        for peer in group.members:
            peer.waited_for = 0
            departed = group.work.parts[peer.number].ready if group.samples(peer) else end
            peer.begun = departed if self._plan.overlaps else end
        for peer in self._peers:
            if peer in group.late:
                self._fetch(peer, end)
            elif peer.fetches <= end < peer.enters:  # what it fetches is an old state now: it sees that once it is here
                peer.waited_for += 1
                self.seen.missed += 1
                self._fetch(peer, peer.enters)

    def _fetch(self, peer: VirtualPeer, begin: float) -> None:
        peer.fetch(begin, self._fetch_seconds(peer))
        self.seen.states += self._plan.state

    def _checkpoint(self, leader: VirtualPeer, now: float) -> None:
        """The leader brings one, now and then, while training goes on."""
        sha256, round_, ready = self._upload
        if sha256 and ready <= now:
            self._books.uploaded(sha256, round_, now)
            self._upload = ("", 0, 0.0)
        if self._round % self._plan.spec.checkpoint.every_rounds:
            return
        if self._upload[0]:
            return  # the last one is on its way still
        self.seen.checkpoints += self._plan.state
        sha256 = self._books.offer(leader, self._round, now)
        self._upload = (sha256, self._round, now + self._plan.state / leader.up)
