"""The leader's decisions about a round. Pure: time comes in, a decision and its reason come out.

The protocol is a two-phase commit among volunteers: the leader forms one group per attempt (phase one: ready), the
group averages, and the leader decides once for all whether the average is applied (phase two: commit). What is
promised, under which assumptions, is in docs/decisions/0002-leader-led-rounds.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from peer.exchange.closing import Closing, Said

_Name = TypeVar("_Name", bytes, str)


@dataclass(frozen=True, order=True)
class Member:
    """A live peer as the DHT knows it. Ordered by seniority: who joined first, then by id."""

    joined_at: float  # Unix seconds; as its pass says, where there are passes, else by its own clock
    peer_id: bytes
    client_mode: bool = False  # cannot be dialled
    active: bool = True  # holds the agreed state; False while it still fetches it
    member: str = ""  # its id at the coordinator, the same after a restart
    light: bool = False  # on probation, as its pass says

    @property
    def name(self) -> str:
        """What it is counted by."""
        return self.member or self.peer_id.hex()


def leader_of(members: Collection[Member]) -> Member | None:
    """The senior member that others can dial; one on probation only when there is no other. None when there is none."""
    able = [m for m in members if m.active and not m.client_mode]
    return min([m for m in able if not m.light] or able, default=None)


def voting(members: Collection[Member]) -> int:
    """How many live members hold an agreed state and weigh; how many hold one, when none of them does."""
    active = [member for member in members if member.active]
    return sum(not member.light for member in active) or len(active)


def voters_of(members: Collection[_Name], light: Collection[_Name]) -> list[_Name]:
    """Whose states and results make a majority: those who weigh, or all when nobody does."""
    return [member for member in members if member not in light] or list(members)


def evaluator_of(members: Collection[bytes], leader: bytes, round_: int) -> bytes:
    """Who of a group measures θ_round: its members take turns, but not the leader, for whom all would wait."""
    others = sorted(member for member in members if member != leader) or [leader]
    return others[round_ % len(others)]


@dataclass(frozen=True)
class Ready:
    """A peer's word that it wants to exchange."""

    samples: int
    digest: str
    client_mode: bool
    at: float  # seconds, the leader's monotonic clock
    payload: str = ""  # SHA-256 of the encoded update, in local mode
    member: str = ""  # its id at the coordinator
    made_by: tuple[str, ...] = ()  # the members whose group made θ of this round; empty when it does not know
    voted: int = 0  # the latest round whose state it may have made
    seal: bytes = b""  # see `peer.seals`
    light: bool = False  # its samples weigh nothing, or it has none and its pass says so: it is on probation
    full: bool = False  # it may take no more samples in this round


@dataclass(frozen=True)
class Wait:
    """No decision yet."""

    why: str


@dataclass(frozen=True)
class Needs:
    """Without results of `count` among these members, nobody applies: others could make the round without them."""

    count: int = 0
    among: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class Form:
    """Exchange in this group; the refused are answered with the reason."""

    members: tuple[bytes, ...]
    resync: tuple[bytes, ...]
    why: str
    needs: Needs


@dataclass(frozen=True)
class Appeal:
    """These could go on, if no other part of the swarm does: the coordinator says yes to one part only.

    `blind`: none of them knows who made their state.
    """

    members: tuple[str, ...]
    blind: bool
    why: str


@dataclass(frozen=True)
class Reopen:
    """All who are ready go on accumulating, but those who hold another state fetch the majority's."""

    why: str
    resync: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Limits:
    """How long a round waits for whom: for slow peers `grace` seconds, for `guests` that fetch its state `patience`,
    and as long for `contributors` whose samples weigh, where as many are there.
    """

    grace: float
    patience: float
    guests: frozenset[bytes] = frozenset()
    contributors: int = 1


@dataclass(frozen=True)
class Quorum:
    """Which members said goodbye, so that they are missed no more, and to whom the coordinator granted this round."""

    left: frozenset[str] = frozenset()
    granted: frozenset[str] = frozenset()
    round: int = 0  # that the group would end


def decide_group(
    *,
    expected: Collection[bytes],
    active_members: int,
    ready: Mapping[bytes, Ready],
    own: bytes,
    closing: Closing,
    waited: float,
    limits: Limits,
    quorum: Quorum = Quorum(),
) -> Wait | Form | Reopen | Appeal:
    """Whether the round's group can be formed.

    `expected` are the live peers that work on this round, `active_members` counts all live members that hold an
    agreed state and vote. `waited` counts from when somebody was ready in a round that closes: who is ready before
    that waits for the others' steps.
    """
    absent = set(expected) - set(ready)
    ready = _one_each(ready, own)
    missing, grace = len(absent), limits.grace
    if missing and waited < grace:
        return Wait(f"waiting for {missing} of {len(expected)} peers, at most {grace - waited:.0f} s more")
    if absent & limits.guests and waited < limits.patience:
        return Wait(f"waiting for a peer that fetches the state, at most {limits.patience - waited:.0f} s more")
    contributing = sum(word.samples > 0 and not word.light for word in ready.values())
    needed = min(limits.contributors, len(absent) + contributing)
    if contributing < needed and waited < limits.patience:
        left = limits.patience - waited
        return Wait(f"{contributing} contributors are too few; waiting for {needed}, at most {left:.0f} s more")
    if own not in ready:
        return Wait("waiting for the round's leader to finish its own batch")
    agreed, resync = _split_by_digest(ready, own)
    if lack := closing.lacks([_said(ready[peer]) for peer in agreed]):
        without = ", without those on probation" if any(ready[peer].light for peer in agreed) else ""
        return Reopen(f"the ready peers have {lack}{without}; the round goes on", resync)
    vote = _vote({peer: ready[peer] for peer in agreed}, own, active_members, quorum)
    if not isinstance(vote, Needs):
        return vote
    late = f", without {missing} that were not ready in {grace:.0f} s" if missing else ""
    samples = sum(ready[peer].samples for peer in agreed)
    return Form(agreed, resync, f"{len(agreed)} peers with {samples} samples{late}", vote)


def _said(word: Ready) -> Said:
    return Said(0 if word.light else word.samples, word.full)


def _light(words: Mapping[bytes, Ready]) -> set[bytes]:
    return {peer for peer, word in words.items() if word.light}


def _one_each(ready: Mapping[bytes, Ready], own: bytes) -> dict[bytes, Ready]:
    """Of each member its newest word: one that was started anew has another node. The leader's own stays."""
    newest = {word.member or peer: peer for peer, word in sorted(ready.items(), key=lambda item: item[1].at)}
    if own in ready:
        newest[ready[own].member or own] = own
    return {peer: word for peer, word in ready.items() if newest[word.member or peer] == peer}


def _makers(agreed: Mapping[bytes, Ready], own: bytes) -> tuple[str, ...]:
    """Who made their state, as most of those say who know and weigh; a tie goes to the leader's word."""
    known = {peer: word for peer, word in agreed.items() if word.made_by}
    said = Counter(known[peer].made_by for peer in voters_of(known, _light(known)))
    return max(said, key=lambda made: (said[made], made == agreed[own].made_by, made), default=())


def _vote(agreed: Mapping[bytes, Ready], own: bytes, active_members: int, quorum: Quorum) -> Needs | Wait | Appeal:
    """What makes sure that no other part of a cut swarm makes this round too, or why that is not sure.

    Dynamic voting (Jajodia and Mutchler 1990, ACM TODS 15(2)): more than half of those who made the last round make the
    next one. Who gave its vote already counts only for the coordinator, which breaks a tie, too, and decides for a
    state of which nobody knows who made it: a checkpoint.
    """
    here = {word.member: peer for peer, word in agreed.items()}
    own = own if own in agreed else min(agreed)
    voters = set(_makers(agreed, own)) - quorum.left
    present = voters & here.keys()
    free = [member for member in present if agreed[here[member]].voted <= quorum.round]
    if 2 * len(free) > len(voters):
        return Needs(len(voters) // 2 + 1, frozenset(here[member] for member in present))
    if voters and 2 * len(present) < len(voters):
        return Wait(
            f"only {len(present)} of the {len(voters)} members that made the last round are here; "
            "the others may be going on elsewhere, so this part of the swarm waits for them"
        )
    voting_here = len(voters_of(agreed, _light(agreed)))
    if not voters and voting_here * 2 <= active_members:
        return Wait(f"only {voting_here} of {active_members} members can be reached; more than half must take part")
    if quorum.granted == here.keys():
        return Needs(len(agreed), frozenset(agreed))
    why = "asking the coordinator whether another part of the swarm goes on"
    return Appeal(tuple(sorted(here)), not voters, why)


def _split_by_digest(ready: Mapping[bytes, Ready], own: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The peers with the digest that most members name among those who weigh, and the others; a tie goes to the
    leader's side.
    """
    heard = voters_of(ready, _light(ready))
    votes = Counter(digest for digest, _ in {(ready[peer].digest, ready[peer].member or peer) for peer in heard})
    most = max(votes.values())
    winner = ready[own].digest if votes[ready[own].digest] == most else votes.most_common(1)[0][0]
    agreed = tuple(sorted(peer for peer, word in ready.items() if word.digest == winner))
    return agreed, tuple(sorted(set(ready) - set(agreed)))


@dataclass(frozen=True)
class Commit:
    """What the exchange gave one member."""

    complete: bool
    digest: str
    norm: float
    why: str = ""


@dataclass(frozen=True)
class Apply:
    """Everyone with this digest applies; the others fetch the state."""

    digest: str
    norm: float
    why: str


@dataclass(frozen=True)
class Abort:
    """Nobody applies; all keep their updates. `suspects` are not waited for in the next attempt."""

    suspects: tuple[bytes, ...]
    why: str


def decide_outcome(
    *,
    group: Sequence[bytes],
    needs: Needs,
    commits: Mapping[bytes, Commit],
    own: bytes,
    waited: float,
    patience: float,
    gone: Collection[bytes] = (),
    light: Collection[bytes] = (),
) -> Wait | Apply | Abort:
    """Whether the group's average is applied, `waited` seconds after it was formed; the `gone` are not awaited, and the
    `light` have no say in which average it is while others have.
    """
    missing = tuple(peer for peer in group if peer not in commits)
    broken = tuple(peer for peer in group if peer in commits and not commits[peer].complete)
    if broken:
        return Abort(missing, f"the exchange broke: {commits[broken[0]].why}")
    if set(missing) - set(gone) and waited < patience:
        return Wait(f"waiting for {len(missing)} of {len(group)} results")
    if own not in commits:
        return Abort(missing, "the leader itself got no result")
    if (here := len(needs.among & commits.keys())) < needs.count:
        return Abort(
            missing, f"only {here} of the {needs.count} members without whom nothing may be applied got a result"
        )
    voters = voters_of(group, light)
    votes = Counter(commits[peer].digest for peer in voters if peer in commits)
    digest, count = votes.most_common(1)[0] if votes else ("", 0)
    if count * 2 <= len(voters):
        return Abort(missing, f"only {count} of {len(voters)} peers hold the same average")
    differing = tuple(peer for peer, commit in commits.items() if commit.digest != digest)
    norm = commits[own].norm if own not in differing else _median_norm(commits, digest)
    return Apply(digest, norm, f"{count} of {len(voters)} peers hold the same average")


def _median_norm(commits: Mapping[bytes, Commit], digest: str) -> float:
    norms = sorted(commit.norm for commit in commits.values() if commit.digest == digest)
    return norms[len(norms) // 2]
