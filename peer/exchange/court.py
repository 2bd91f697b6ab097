"""The leader among strangers: it refuses what is not sealed, judges complaints, and goes on without liars."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from peer.exchange.attempt import Attempt
from peer.exchange.closing import Said
from peer.exchange.complaints import Bench, Word, judge
from peer.exchange.leader import Leader
from peer.leases import Spent, Use, overdrawn
from peer.newest import Newest
from peer.seals import Claim, Notary, nonce_of, uses_in
from swarm import log
from swarm.identity import key_of
from swarm.proto import exchange_pb2 as pb

logger = log.get(__name__)

_REMEMBERED = 64  # refusals
_REFUSED_SECONDS = 1.0  # until somebody is told, so that it does not ask again and again
_NOBODY_WEIGHS = (
    "nobody in the group weighs anything: all are on probation, until the run's maintainer says `swarm trust MEMBER` "
    "of one, or invites somebody with --role validator"
)
_HEARING_SECONDS = 3.0  # after a complaint, for those of others

# What is wrong with a reducer's part, found by computing it again: (group, reducer, part); None when it is not known.
Recheck = Callable[[bytes, bytes, int], Awaitable[str | None]]


async def cannot_check(_group: bytes, _reducer: bytes, _part: int) -> None:
    """Of a way without reducers."""


@dataclass
class _Hearing:
    """What the members of one group said of each other."""

    group: pb.Group
    round: int
    words: list[Word] = field(default_factory=list)
    shares: dict[bytes, set[str]] = field(default_factory=dict)  # the digests that each reducer signed
    heard: set[bytes] = field(default_factory=set)
    said: dict[bytes, asyncio.Future[str]] = field(default_factory=dict)  # what each one's first word came to

    def seat(self, peer: bytes) -> pb.GroupMember:
        """A member's; an empty one for others."""
        return next((member for member in self.group.members if member.peer_id == peer), pb.GroupMember())


class Court(Leader):
    """See `Leader`. `admit` it before the first round."""

    notary: Notary
    recheck: Recheck = staticmethod(cannot_check)

    def admit(self, notary: Notary) -> None:
        """Say how updates are looked at."""
        self.notary = notary
        self.bench = Bench()
        self._hearings: dict[bytes, _Hearing] = {}
        self._spent = Spent()
        self._nonces: set[bytes] = set()  # of this round
        self._refused = Newest[bytes, str](_REMEMBERED)  # whom, and why; said once

    def advance(self, round_: int) -> None:
        if round_ != self.round:
            self._nonces = set()
        super().advance(round_)

    async def ready(self, peer: bytes, request: pb.ReadyRequest) -> pb.Group:
        if why := self._refuses(peer, request):
            if self._refused.get(peer) != why:
                logger.warning("%s is refused: %s", request.member, why)
            self._refused[peer] = why
            await asyncio.sleep(_REFUSED_SECONDS)
            return pb.Group(verdict=pb.RETRY, why=f"refused: {why}")
        self._nonces.add(nonce_of(request.seal))
        return await super().ready(peer, request)

    def _refuses(self, peer: bytes, request: pb.ReadyRequest) -> str:
        if why := self.bench.why(request.member, self.round):
            return why
        if nonce_of(request.seal) in self._nonces:
            return "it was sent before"
        if why := self.notary.objection(claim_of(request, peer), request.seal):
            return why
        uses, lent = uses_in(request.seal), self.notary.keyring.lent
        return self._spent.objection(self.round, uses, lent, self._beside(request.member))

    def _beside(self, member: str) -> list[Use]:
        """What other seats of its key use in this round: a lease may be of any of them."""
        ready = self._forming.ready.values() if self._forming else ()
        seats = [word for word in ready if word.member != member and key_of(word.member) == key_of(member)]
        return [use for word in seats for use in uses_in(word.seal)]

    def _share(self, seal: bytes) -> float:
        return self.notary.share(seal)

    async def commit(self, peer: bytes, request: pb.CommitRequest) -> pb.Outcome:
        attempt = self._attempts.get(request.group_id)
        if attempt is not None and peer in attempt.members:
            hearing = self._hearings.setdefault(request.group_id, _Hearing(attempt.group.result(), self.round))
            if peer not in hearing.said:  # who says it again hears the same: each word costs the leader work
                hearing.said[peer] = asyncio.ensure_future(self._hear(hearing, peer, request))
            if why := await asyncio.shield(hearing.said[peer]):
                request = pb.CommitRequest(group_id=request.group_id, round=request.round, why=why)
        return await super().commit(peer, request)

    async def _hear(self, hearing: _Hearing, peer: bytes, request: pb.CommitRequest) -> str:
        """Why the exchange failed, as far as this member can tell; empty when it did not."""
        accused = {complaint.peer_id: complaint for complaint in request.complaints}
        for complaint in (accused[member.peer_id] for member in hearing.group.members if member.peer_id in accused):
            hearing.words.append(await self._word(hearing, peer, complaint))
        lies = self._compare(hearing, request)
        hearing.heard.add(peer)
        if lies or not request.complete:
            await self._hear_the_others(hearing)
        return lies or ("" if request.complete else request.why)

    async def _word(self, hearing: _Hearing, peer: bytes, complaint: pb.Complaint) -> Word:
        group_id, accused = hearing.group.group_id, complaint.peer_id
        wrong = complaint.fault == pb.WRONG_MEAN
        found = await self.recheck(group_id, accused, complaint.part) if wrong else None
        proven = None if found is None else bool(found)
        return Word(hearing.seat(peer).member, hearing.seat(accused).member, found or complaint.why, proven)

    def _compare(self, hearing: _Hearing, request: pb.CommitRequest) -> str:
        """Find the reducers that signed different results for different members."""
        for share in request.shares:
            reducer, signed = hearing.seat(share.peer_id), hearing.shares.setdefault(share.peer_id, set())
            if share.sha256 in signed:
                continue
            if self.notary.made(request.group_id, share.sha256, share.signature, reducer.seal):
                signed.add(share.sha256)
            if len(signed) > 1:
                why = "it signed different results for different members"
                hearing.words.append(Word(hearing.seat(self._own).member, reducer.member, why, proven=True))
                return f"{reducer.member}: {why}"
        return ""

    async def _hear_the_others(self, hearing: _Hearing) -> None:
        end = self._clock() + _HEARING_SECONDS
        while len(hearing.heard) < len(hearing.group.members) and self._clock() < end:
            await asyncio.sleep(0.05)

    def _conclude(self, group_id: bytes, attempt: Attempt, outcome: pb.Outcome) -> None:
        hearing = self._hearings.pop(group_id, None)
        if outcome.verdict == pb.GO:
            uses = [use for member in attempt.group.result().members for use in uses_in(member.seal)]
            self._spent.note(self.round, uses, self.notary.keyring.lent)
        if outcome.verdict == pb.RETRY and hearing is not None:
            members = [member.member for member in hearing.group.members]
            for sentence in judge(hearing.words, members, hearing.seat(self._own).member, hearing.round):
                held = self.bench.add(sentence)
                logger.warning("%s sits out: %s", held.member, held.why)
        super()._conclude(group_id, attempt, outcome)

    def _live_progress(self) -> dict[bytes, Said]:
        out = {m.peer_id for m in self._members() if self.bench.why(m.member, self.round)}
        return {peer: said for peer, said in super()._live_progress().items() if peer not in out}


def claim_of(request: pb.ReadyRequest, peer: bytes) -> Claim:
    """What a member asks to be in a group with."""
    return Claim(
        request.round, request.digest, request.payload, request.samples, request.member, peer, request.client_mode
    )


def objection(notary: Notary, group: pb.Group, round_: int, digest: str) -> str:
    """Why a group is not to be taken part in: the leader changed what a member had signed. Empty when it did not."""
    for seat in group.members:
        claim = Claim(round_, digest, seat.payload, seat.samples, seat.member, seat.peer_id, seat.client_mode)
        if why := notary.objection(claim, seat.seal):
            return f"the leader's group is not sound: {seat.member}: {why}"
        if seat.samples and seat.light == bool(notary.share(seat.seal)):
            return f"the leader's group is not sound: it says something else than {seat.member}'s leases of its weight"
    if lease := overdrawn((use for seat in group.members for use in uses_in(seat.seal)), notary.keyring.lent):
        return f"the leader's group is not sound: it uses more of the lease {lease} than there is"
    weighs = any(seat.samples and not seat.light for seat in group.members)
    return "" if weighs else _NOBODY_WEIGHS
