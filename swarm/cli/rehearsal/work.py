"""What peers compute until a round closes, in both modes. Pure; seconds of virtual time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peer.exchange.closing import Said, closing_of
from swarm.cli.rehearsal.peers import VirtualPeer
from swarm.cli.rehearsal.plan import Plan

MOMENT = 1e-6  # seconds: after so many more, rounding hides no longer that a time is over
_BATCHES = 200  # of a peer in a round, at most: longer rounds are computed in larger steps


@dataclass(frozen=True)
class Part:
    """What a peer has done when the round closes, and when it is ready to exchange. `short`: not all of its steps."""

    samples: int
    ready: float
    short: bool = False


@dataclass(frozen=True)
class Work:
    """A round's work: when it closes (infinite: never, with these peers), and each one's part, by number."""

    closes: float
    parts: Mapping[int, Part]


def batch_of(plan: Plan, peer: VirtualPeer) -> int:
    """Samples at once: as many as are done in half of the grace time (`peer.training`)."""
    in_time = int(peer.rate * plan.spec.exchange.grace_seconds / 2)
    return min(plan.speed.micro_batch, max(1, in_time))


def work(plan: Plan, peers: Sequence[VirtualPeer], began: float, done: Mapping[int, int]) -> Work:
    """Of a round that began then; `done` are samples from tries that did not end it."""
    return _local(plan, peers, began) if plan.local else _gradient(plan, peers, began, done)


def _gradient(plan: Plan, peers: Sequence[VirtualPeer], began: float, done: Mapping[int, int]) -> Work:
    """Each takes batch after batch, says before each what it begins, and hears half a round trip later that these are
    enough. While only members lack, those with samples wait.
    """
    closing, late = closing_of(plan.spec), plan.swarm.latency
    target = plan.spec.training.target_batch_size
    coarse = max(1, target // (_BATCHES * plan.speed.micro_batch * len(peers)))
    parts = {peer.number: Part(done.get(peer.number, 0), max(began, peer.begun)) for peer in peers}
    promised, by_number = sum(part.samples for part in parts.values()), {peer.number: peer for peer in peers}
    if closing.due([Said(part.samples) for part in parts.values()], 0.0, 0.0):
        return Work(began, parts)
    closes = math.inf
    free = [(part.ready, number) for number, part in parts.items()]
    heapq.heapify(free)
    while free and free[0][0] <= closes + late:
        now, number = heapq.heappop(free)
        peer, before = by_number[number], parts[number]
        if closes == math.inf and promised >= target and before.samples:
            continue
        batch = coarse * batch_of(plan, peer)
        ready = now + batch / peer.rate
        if ready >= peer.until:  # it goes, and what it did is lost
            promised -= parts.pop(number).samples
            continue
        promised += batch
        parts[number] = Part(before.samples + batch, ready)
        heapq.heappush(free, (ready, number))
        if closes == math.inf and promised >= target:
            said = [Said(part.samples) for part in parts.values()]
            closes = now if closing.due(said, now - began, 0.0) else math.inf
    if closes == math.inf:
        return Work(closes, {})
    here = [peer.number for peer in peers if peer.number in parts and peer.begun <= closes < peer.until]
    return Work(closes, {number: parts[number] for number in here})


def _local(plan: Plan, peers: Sequence[VirtualPeer], began: float) -> Work:
    """Each takes its steps; the closing rule is asked at every moment at which its answer may change."""
    share = plan.share
    done = {peer.number: max(began, peer.begun + share / peer.rate) for peer in peers}
    closing = closing_of(plan.spec)
    first = min((done[peer.number] for peer in peers if done[peer.number] < peer.until), default=math.inf)
    for now in _moments(plan, peers, began, first, done):
        here = [peer for peer in peers if peer.begun <= now < peer.until]
        said = [Said(_samples(plan, peer, now), done[peer.number] <= now) for peer in here]
        if closing.due(said, now - began, max(0.0, now - first) if first <= now else 0.0):
            return Work(now, {peer.number: _part(plan, peer, now, done[peer.number]) for peer in here})
    return Work(math.inf, {})


def _moments(
    plan: Plan, peers: Sequence[VirtualPeer], began: float, first: float, done: Mapping[int, float]
) -> list[float]:
    """When all are done, those who are here before the first is or those who come later, too; when the first waited
    long enough; when the window ends. Before enough have done a batch, nothing ends.
    """
    batches = sorted(max(began, peer.begun + batch_of(plan, peer) / peer.rate) for peer in peers)
    needed = plan.spec.exchange.min_contributors
    if len(batches) < needed:
        return []
    ends = {peer.number: min(done[peer.number], peer.until) for peer in peers}
    early = [ends[peer.number] for peer in peers if peer.begun <= first]
    moments = (
        max(early, default=math.inf),
        max(ends.values()),
        first + plan.spec.exchange.grace_seconds + MOMENT,
        began + plan.spec.local.window_seconds + MOMENT,
    )
    return sorted({max(moment, batches[needed - 1]) for moment in moments if moment < math.inf})


def _samples(plan: Plan, peer: VirtualPeer, now: float) -> int:
    """Of whole batches until then."""
    batch = min(batch_of(plan, peer), plan.spec.local.batch_size)
    return min(plan.share, int((now - peer.begun) * peer.rate / batch) * batch)


def _part(plan: Plan, peer: VirtualPeer, closes: float, done: float) -> Part:
    if done <= closes:
        return Part(plan.share, done)
    batch = min(batch_of(plan, peer), plan.spec.local.batch_size)
    samples = min(plan.share, _samples(plan, peer, closes) + batch)  # the one that it has begun
    return Part(samples, peer.begun + samples / peer.rate, short=True)
