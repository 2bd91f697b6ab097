"""One try to form a group and to exchange in it, as the leader keeps it, and how it is said in messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from peer.exchange.guard import LONGEST_ID
from peer.exchange.rounds import Abort, Apply, Commit, Member, Needs, Ready, voters_of
from swarm.proto import exchange_pb2 as pb

_FASTEST = 1e12  # bytes per second: what is faster, or no number, is a lie


@dataclass
class Attempt:
    """One try to form a group and to exchange in it."""

    ready: dict[bytes, Ready] = field(default_factory=dict)
    group: asyncio.Future[pb.Group] = field(default_factory=asyncio.Future)
    commits: dict[bytes, Commit] = field(default_factory=dict)
    rates: Counter[bytes] = field(default_factory=Counter)  # bytes per second that each was seen to send, by all
    outcome: asyncio.Future[pb.Outcome] = field(default_factory=asyncio.Future)
    formed_at: float = 0.0
    last_at: float = 0.0  # when a result came last
    gone: set[bytes] = field(default_factory=set)  # members that did not answer when they were asked whether they live
    look: asyncio.Task[None] | None = None  # for those who are missing
    members: tuple[bytes, ...] = ()
    resync: tuple[bytes, ...] = ()
    needs: Needs = field(default_factory=Needs)

    def applied(self, digest: str) -> frozenset[bytes]:
        """The nodes that make the next state, since this is the average that counts; if any weighs, those that do."""
        same = [peer for peer, commit in self.commits.items() if commit.digest == digest]
        return frozenset(voters_of(same, light_in(self.group.result())))


def seat(peer: bytes, word: Ready) -> pb.GroupMember:
    return pb.GroupMember(
        peer_id=peer,
        samples=word.samples,
        client_mode=word.client_mode,
        payload=word.payload,
        member=word.member,
        seal=word.seal,
        light=word.light,
    )


def light_in(group: pb.Group) -> set[bytes]:
    """Whose updates weigh nothing."""
    return {member.peer_id for member in group.members if member.light}


def makers_of(group: pb.Group) -> tuple[str, ...]:
    """Who votes on who makes the next round: those of the group that weigh, or all when nobody does."""
    voters = voters_of([member.peer_id for member in group.members], light_in(group))
    return tuple(member.member for member in group.members if member.peer_id in voters)


def ready_of(request: pb.ReadyRequest, now: float, light: bool) -> Ready:
    return Ready(
        request.samples,
        request.digest,
        request.client_mode,
        now,
        request.payload,
        request.member,
        tuple(request.made_by),
        request.voted,
        request.seal,
        light,
        request.full,
    )


def sane(rate: pb.Rate, senders: Collection[bytes]) -> bool:
    """Whether a rate can be true that somebody says it saw."""
    return rate.peer_id in senders and 0.0 <= rate.bytes_per_second < _FASTEST


def on_probation(peer: bytes, members: Collection[Member]) -> bool:
    """Whether the member says so itself, by its pass."""
    return any(member.light for member in members if member.peer_id == peer)


def unsound(group: pb.Group, own: bytes, payload: str) -> str:
    """Why a leader's group is none for this member, which said that it has this payload; empty when it may be one."""
    nodes = [member.peer_id for member in group.members]
    names = [member.member for member in group.members if member.member]
    if len(set(nodes)) != len(nodes) or len(set(names)) != len(names):
        return "the leader's group names a member twice"
    if max(map(len, [*nodes, group.leader, group.relay])) > LONGEST_ID:
        return "the leader's group names a node that can be none"
    if not any(member.peer_id == own and member.payload == payload for member in group.members):
        return "the leader's group is without this peer's update"
    return "" if any(not member.client_mode for member in group.members) else "nobody in the group can be dialled"


def outcome_message(decision: Apply | Abort) -> pb.Outcome:
    if isinstance(decision, Abort):
        return pb.Outcome(verdict=pb.RETRY, why=decision.why)
    return pb.Outcome(verdict=pb.GO, digest=decision.digest, norm=decision.norm, why=decision.why)


def for_member(outcome: pb.Outcome, digest: str) -> pb.Outcome:
    """The outcome as it concerns a member that holds the average `digest`."""
    if outcome.verdict == pb.GO and outcome.digest != digest:
        return pb.Outcome(verdict=pb.RESYNC, why="this peer received another average than the majority", differs=True)
    return outcome
