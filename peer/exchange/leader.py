"""The leader's side of a round: who is how far, who is ready, what the group decided.

Every peer has one; it does anything only while this peer is the senior member. Runs in one event loop; the decisions
themselves are pure (`rounds.py`), this file feeds them and answers those who wait.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from peer.exchange.attempt import Attempt, for_member, light_in, on_probation, outcome_message, ready_of, sane, seat
from peer.exchange.closing import Rules, Said
from peer.exchange.hearsay import Hearsay
from peer.exchange.living import SILENCE_SECONDS, always
from peer.exchange.relays import relay_of
from peer.exchange.rounds import (
    Abort,
    Appeal,
    Apply,
    Commit,
    Form,
    Limits,
    Member,
    Quorum,
    Reopen,
    Wait,
    decide_group,
    decide_outcome,
    voting,
)
from peer.newest import Newest
from swarm import log
from swarm.proto import exchange_pb2 as pb

logger = log.get(__name__)

_KEPT_LIGHT = _KEPT_RATES = 4096
_LIGHT_SECONDS = 60.0  # that a member is believed to be on probation still, when it was
_KEPT_OUTCOMES = 16  # rounds for which a peer that missed the answer may ask again
_TICK = 0.05  # seconds between looks at the clock while somebody waits
_LONGEST_HOLD = 30.0  # seconds
_APPEAL_SECONDS = 2.0  # before the coordinator is asked again
_INVITATIONS = 5  # rounds that wait for the same peer while it catches up, until it takes part

# Whether the members named may make the round.
Arbiter = Callable[[int, Appeal], Awaitable[bool]]


async def nobody_else(_round: int, _appeal: Appeal) -> bool:
    """The arbiter of a swarm without a coordinator."""
    return True


class Leader:
    """Sums progress, forms groups, decides outcomes. Times are monotonic seconds."""

    def __init__(
        self,
        own: bytes,
        rules: Rules,
        members: Callable[[], list[Member]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.round = 0
        self.outcomes = Newest[bytes, pb.Outcome](_KEPT_OUTCOMES)
        self.relays: Callable[[], Collection[bytes]] = tuple  # nodes that carry payloads and are no members
        self.arbiter: Arbiter = nobody_else
        self.lives: Callable[[bytes], Awaitable[bool]] = always  # False when a member's process is surely gone
        self._unheard: set[bytes] = set()  # members of the last group that did not speak since its outcome
        self._granted: frozenset[str] = frozenset()
        self._appeal: asyncio.Task[None] | None = None
        self._own = own
        self._rules = rules
        self._members = members
        self._clock = clock
        self._progress: dict[bytes, Said] = {}
        self._began = clock()
        self._first_done = 0.0  # when the first peer had done all that it may do in this round; 0 is not yet
        self._closing_since = 0.0  # when the round began to close; 0 is not yet
        self.hearsay = Hearsay(own, members)
        self._rates = Newest[bytes, float](_KEPT_RATES)  # bytes per second that each was seen to send, newest round
        self._guests: Counter[bytes] = Counter()  # how often each was waited for while it caught up, in vain so far
        self._hosted: dict[bytes, int] = {}  # the round in which each of them was first waited for
        self._light = Newest[bytes, float](_KEPT_LIGHT)  # whose samples weighed nothing when it was ready, until when
        self._attempts: dict[bytes, Attempt] = {}
        self._forming: Attempt | None = None
        self._why = ""

    def advance(self, round_: int) -> None:
        """This peer works on `round_` now; what was said about earlier rounds is void."""
        if round_ == self.round:
            return
        self.round, self._progress, self._why = round_, {}, ""
        self._began, self._first_done, self._closing_since = self._clock(), 0.0, 0.0
        self._granted = frozenset()
        self._forget_who_left()
        self._dissolve(f"round {round_} has begun")

    def _forget_who_left(self) -> None:
        for gone in self._hosted.keys() - {member.peer_id for member in self._members()}:
            self._hosted.pop(gone)
            self._guests.pop(gone, None)

    def progress(self, peer: bytes, message: pb.Progress) -> pb.SwarmView:
        """Take a peer's count; say what it should do."""
        self._unheard.discard(peer)
        if message.round < self.round:
            return self._view(pb.BEHIND, f"the swarm is in round {self.round}, this peer in {message.round}")
        if self._hears_later(peer, message.round):
            return self._view(pb.AHEAD, "the round's leader has to catch up first")
        if not message.catching_up or self._expects(peer):
            self._note(peer, Said(message.samples, message.done))
        return self._look()

    def _expects(self, guest: bytes) -> bool:
        """Whether the round waits for a peer that catches up, for long; not again and again for one that is late."""
        self._guests[guest] += 1
        self._hosted.setdefault(guest, self.round)
        return self._guests[guest] <= _INVITATIONS

    async def watch(self, peer: bytes, message: pb.Progress) -> pb.SwarmView:
        """`progress`, but while the round is open the answer waits, so that a peer need not ask again and again."""
        view = self.progress(peer, message)
        end = self._clock() + min(message.hold_seconds, _LONGEST_HOLD)
        while view.phase == pb.OPEN and self.round == message.round >= self.behind_of and self._clock() < end:
            await asyncio.sleep(_TICK)
            view = self._look()
        return view

    def _look(self) -> pb.SwarmView:
        said = self._said()
        due = self._due(said)
        phase, why = (pb.CLOSING, self._why or due) if due else (pb.OPEN, self._rules.closing.lacks(said.values()))
        return self._view(phase, why, sum(word.samples for word in said.values()))

    @property
    def behind_of(self) -> int:
        """The later round in which the run is, as far as that is believed."""
        return self.hearsay.believed(self.round)

    def _hears_later(self, peer: bytes, round_: int) -> bool:
        self.hearsay.note(peer, round_, self.round)
        self._give_way()
        return round_ > self.round

    def _give_way(self) -> None:
        """When the others are in a later round: end what is being formed here, so that this peer catches up at once."""
        if (later := self.behind_of) > self.round:
            self._dissolve(f"others are in round {later}")

    def _note(self, peer: bytes, word: Said) -> None:
        self._progress[peer] = word
        if word.done and word.samples:  # who takes none in this round hurries nobody
            self._first_done = self._first_done or self._clock()

    def _due(self, said: Mapping[bytes, Said]) -> str:
        now = self._clock()
        waited = now - self._first_done if self._first_done else 0.0
        why = self._rules.closing.due(said.values(), now - self._began, waited)
        self._closing_since = (self._closing_since or now) if why else 0.0
        return why

    def _said(self) -> dict[bytes, Said]:
        """The live peers' newest words: a ready one is newer than its progress."""
        ready = self._forming.ready if self._forming else {}
        words = {**self._live_progress(), **{peer: Said(word.samples, done=True) for peer, word in ready.items()}}
        now = self._clock()
        return {peer: Said(0, word.done) if self._light.get(peer, now) > now else word for peer, word in words.items()}

    def _share(self, _seal: bytes) -> float:
        """What each sample of an update with that seal weighs."""
        return 1.0

    async def ready(self, peer: bytes, request: pb.ReadyRequest) -> pb.Group:
        """Answered when the group is formed, or with the reason why this peer is not in it."""
        if request.round < self.round:
            return pb.Group(verdict=pb.RESYNC, why=f"late: round {request.round} ended without this peer")
        if self._hears_later(peer, request.round):
            return pb.Group(verdict=pb.RETRY, why="the round's leader has to catch up first")
        self._unheard.discard(peer)
        attempt = self._forming = self._forming or Attempt()
        light = not self._share(request.seal) if request.samples else on_probation(peer, self._members())
        self._light[peer] = self._clock() + _LIGHT_SECONDS if light and request.samples else 0.0
        attempt.ready[peer] = ready_of(request, self._clock(), light)
        self._note(peer, Said(request.samples, done=True))
        await self._until(attempt.group, lambda: self._try_to_form(attempt))
        return self._answer(peer, attempt)

    async def commit(self, peer: bytes, request: pb.CommitRequest) -> pb.Outcome:
        """Answered when the group's outcome is decided."""
        if (known := self.outcomes.get(request.group_id)) is not None:
            return for_member(known, request.digest)
        attempt = self._attempts.get(request.group_id)
        if attempt is None or peer not in attempt.members:
            return pb.Outcome(verdict=pb.RETRY, why="this group is not known to the leader", open=True)
        if peer not in attempt.commits:
            senders = {*attempt.members, *self.relays()}
            attempt.rates.update({r.peer_id: int(r.bytes_per_second) for r in request.rates if sane(r, senders)})
        attempt.last_at = self._clock()
        attempt.commits[peer] = Commit(request.complete, request.digest, request.norm, request.why)
        await self._until(attempt.outcome, lambda: self._try_to_decide(request.group_id, attempt))
        return for_member(attempt.outcome.result(), request.digest)

    async def told_all(self, seconds: float) -> None:
        """Return when every live member of the last group spoke since its outcome, at the latest after so long."""
        end = self._clock() + seconds
        while any(member.peer_id in self._unheard for member in self._members()) and self._clock() < end:
            await asyncio.sleep(_TICK)

    async def _until(self, future: asyncio.Future[Any], look: Callable[[], None]) -> None:
        while not future.done():
            look()
            if not future.done():
                await asyncio.wait([future], timeout=_TICK)

    def _try_to_form(self, attempt: Attempt) -> None:
        self._give_way()
        if attempt.group.done():
            return
        self._due(self._said())
        expected = self._live_progress().keys() - attempt.gone
        decision = decide_group(
            expected=expected,
            active_members=voting(self._members()),
            ready=attempt.ready,
            own=self._own,
            closing=self._rules.closing,
            waited=self._waited_closing(attempt),
            limits=self._limits(),
            quorum=Quorum(self._gone(), self._granted, self.round),
        )
        self._say(decision.why)
        if isinstance(decision, Form):
            self._form(attempt, decision)
        elif isinstance(decision, Appeal) and (self._appeal is None or self._appeal.done()):
            self._appeal = asyncio.ensure_future(self._ask_arbiter(self.round, decision))
        elif isinstance(decision, Reopen):
            self._reopen(attempt, decision)
        elif self._waited(attempt) > self._rules.patience:
            self._release(decision.why)
        elif self._waited(attempt) > SILENCE_SECONDS:
            self._look_for(attempt, expected - attempt.ready.keys())

    def _reopen(self, attempt: Attempt, decision: Reopen) -> None:
        """Who was not ready may be gone: its last count must not close the round for ever, nor one that is void."""
        self._go_on_with(attempt.ready.keys() - set(decision.resync))
        attempt.resync = decision.resync
        self._release(decision.why)

    def _go_on_with(self, peers: Collection[bytes]) -> None:
        """The round is open again: what these did for it counts, and they may do more."""
        self._progress = {peer: Said(word.samples) for peer, word in self._progress.items() if peer in peers}

    def _gone(self) -> frozenset[str]:
        """Who is missed no more: those who left without a later state. One that had a later one left others with it."""
        return frozenset(member for member, round_ in self.hearsay.left().items() if round_ <= self.round)

    async def _ask_arbiter(self, round_: int, appeal: Appeal) -> None:
        if await self.arbiter(round_, appeal):
            self._granted = frozenset(appeal.members) if round_ == self.round else frozenset()
        else:
            self.hearsay.inquire()  # the run may be in a later round than this part knows
            await asyncio.sleep(_APPEAL_SECONDS)

    def _limits(self) -> Limits:
        guests = frozenset(guest for guest, round_ in self._hosted.items() if round_ == self.round)
        return Limits(self._rules.grace, self._rules.patience, guests, self._rules.contributors)

    def _form(self, attempt: Attempt, decision: Form) -> None:
        group_id = secrets.token_bytes(16)
        for peer in decision.members:
            self._guests.pop(peer, None)
            self._hosted.pop(peer, None)
        attempt.members, attempt.resync, attempt.needs = decision.members, decision.resync, decision.needs
        attempt.formed_at = self._clock()
        self._attempts[group_id], self._forming = attempt, None
        self._unheard.clear()  # who did not come within the grace time is waited for no more
        seats = [seat(peer, attempt.ready[peer]) for peer in decision.members]
        relay = relay_of(
            [seat.peer_id for seat in seats if seat.payload],
            self._rates,
            [seat.peer_id for seat in seats if seat.payload and not seat.client_mode],
            self.relays(),
        )
        attempt.group.set_result(
            pb.Group(verdict=pb.GO, why=decision.why, group_id=group_id, members=seats, leader=self._own, relay=relay)
        )

    def _answer(self, peer: bytes, attempt: Attempt) -> pb.Group:
        group = attempt.group.result()
        if peer in attempt.resync:
            return pb.Group(verdict=pb.RESYNC, why="this peer's state differs from the majority's", differs=True)
        if group.verdict == pb.GO and peer not in attempt.members:
            return pb.Group(verdict=pb.RETRY, why="another process of this member takes part")
        return group

    def _try_to_decide(self, group_id: bytes, attempt: Attempt) -> None:
        if attempt.outcome.done():
            return
        decision = decide_outcome(
            group=attempt.members,
            needs=attempt.needs,
            commits=attempt.commits,
            gone=attempt.gone,
            light=light_in(attempt.group.result()),
            own=self._own,
            waited=self._clock() - attempt.formed_at,
            patience=self._rules.patience,
        )
        if isinstance(decision, Wait):
            if self._clock() - attempt.last_at > SILENCE_SECONDS:
                self._look_for(attempt, set(attempt.members) - attempt.commits.keys())
            return
        self._say(decision.why)
        if isinstance(decision, Abort):
            self._go_on_with(self._progress.keys() - set(decision.suspects))
        self._conclude(group_id, attempt, outcome_message(decision))
        if isinstance(decision, Apply):
            self._unheard = set(attempt.members) - {self._own}
            self.hearsay.decided = self.round + 1, attempt.applied(decision.digest)
            self.advance(self.round + 1)

    def _look_for(self, attempt: Attempt, missing: Collection[bytes]) -> None:
        """Find out which of them are gone, one look at a time."""
        if missing and (attempt.look is None or attempt.look.done()):
            attempt.look = asyncio.ensure_future(self._looked_for(attempt, missing))

    async def _looked_for(self, attempt: Attempt, missing: Collection[bytes]) -> None:
        for peer in sorted(missing):
            if not await self.lives(peer):
                attempt.gone.add(peer)
        await asyncio.sleep(SILENCE_SECONDS)

    def _conclude(self, group_id: bytes, attempt: Attempt, outcome: pb.Outcome) -> None:
        self._attempts.pop(group_id, None)
        for peer, rate in attempt.rates.items():
            self._rates[peer] = rate
        self.remember(group_id, outcome)
        attempt.outcome.set_result(outcome)

    def remember(self, group_id: bytes, outcome: pb.Outcome) -> None:
        """Keep an outcome for members that did not hear it; a group has one, and a leader that held another average
        than the majority must not replace it by what that means for itself.
        """
        if group_id not in self.outcomes:
            self.outcomes[group_id] = outcome

    def step_down(self) -> None:
        """Another peer leads: who waits here for a group asks there. Groups that are formed go on."""
        self._release("another peer leads the round now")

    def _release(self, why: str) -> None:
        if self._forming is not None and not self._forming.group.done():
            self._forming.group.set_result(pb.Group(verdict=pb.RETRY, why=why))
        self._forming = None

    def _dissolve(self, why: str) -> None:
        self._release(why)
        for group_id, attempt in list(self._attempts.items()):
            self._conclude(group_id, attempt, pb.Outcome(verdict=pb.RETRY, why=why))

    def _live_progress(self) -> dict[bytes, Said]:
        """Who made the last round and is not heard in this one yet takes part, too: its machine may be slower."""
        live = {member.peer_id for member in self._members()}
        words = {**dict.fromkeys(self._unheard, Said(0)), **self._progress}
        return {peer: word for peer, word in words.items() if peer in live}

    def _waited_closing(self, attempt: Attempt) -> float:
        return min(self._waited(attempt), self._clock() - self._closing_since) if self._closing_since else 0.0

    def _waited(self, attempt: Attempt) -> float:
        return self._clock() - min(word.at for word in attempt.ready.values())

    def _view(self, phase: pb.RoundPhase.ValueType, why: str, samples: int = 0) -> pb.SwarmView:
        members = sum(member.active for member in self._members())
        return pb.SwarmView(phase=phase, round=self.round, samples=samples, members=members, why=why)

    def _say(self, why: str) -> None:
        if why != self._why:
            logger.debug("round %d: %s", self.round, why)
            self._why = why
