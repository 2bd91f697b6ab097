"""How long a round's exchange takes, and what each member sends and receives. Pure; bytes and seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peer.exchange.relays import relay_of
from swarm.cli.rehearsal.peers import VirtualPeer
from swarm.cli.rehearsal.plan import MEGABIT, Plan

COORDINATOR = b"the coordinator's node"
_CHECKED = 1 << 15  # values that a member asks for to check a reducer, from each sender
_BYTES = {"none": 4, "fp16": 2, "8bit": 1}


@dataclass(frozen=True)
class Trip:
    """What the members of a group send and receive, in the group's order, and how long that takes. `relay` carried."""

    sent: tuple[float, ...]
    received: tuple[float, ...]
    seconds: float
    relay: bytes = b""
    carried: float = 0.0  # bytes that a node outside of the group sent
    brought: float = 0.0  # and received


Way = Callable[[Sequence[VirtualPeer], Sequence[VirtualPeer]], Trip]


def way_of(plan: Plan) -> Way:
    """How updates travel in this run: the group's members, and those of them who send an update, make a trip."""
    if plan.local:
        return Gathering(plan).trip
    if plan.spec.exchange.aggregation == "centered_clip":
        return lambda group, _: clipped(plan, group)
    return lambda group, _: all_reduce(plan, group)


def all_reduce(plan: Plan, group: Sequence[VirtualPeer]) -> Trip:
    """Everybody reduces an equal part: sends the others' parts, and then its own part's result to each (Ryabinin et al.
    2021, "Moshpit SGD", arXiv 2103.03239, section 3.2).
    """
    each = 2 * plan.payload * (len(group) - 1) / len(group)
    return _direct(group, [each] * len(group), [each] * len(group))


def clipped(plan: Plan, group: Sequence[VirtualPeer]) -> Trip:
    """The leader, who judges, reduces nothing; everybody checks a part of a reducer's (decision 0016)."""
    if len(group) == 1:
        return all_reduce(plan, group)
    reducers = len(group) - 1
    part = plan.payload / reducers
    check = len(group) * min(plan.payload, _CHECKED * _BYTES[plan.spec.exchange.compression])
    each = part * (reducers - 1) + part * (len(group) - 1) + check
    leader = plan.payload + check
    moved = [leader if place == 0 else each for place in range(len(group))]
    return _direct(group, moved, moved)


class Gathering:
    """Local mode: everybody gets every update, from its sender or from a relay, which the exchange's own rule picks."""

    def __init__(self, plan: Plan) -> None:
        self._payload = plan.payload
        self._rates = dict[bytes, float]()  # bytes per second at which a node was seen to send
        self._uplink = plan.swarm.uplink * MEGABIT  # of the coordinator: like a usual volunteer's

    def trip(self, group: Sequence[VirtualPeer], senders: Sequence[VirtualPeer]) -> Trip:
        """How the group's updates travel now; later ones know how fast these nodes sent."""
        peers = [peer.id for peer in senders]
        relay = relay_of(peers, self._rates, peers, (COORDINATOR,))
        self._rates |= {peer.id: peer.up for peer in senders}
        if relay:
            self._rates |= {COORDINATOR: self._uplink} if relay == COORDINATOR else {}
            return self._over(relay, group, peers)
        sending = set(peers)
        sent = [self._payload * (len(group) - 1) * (peer.id in sending) for peer in group]
        return _direct(group, sent, self._received(group, sending))

    def _received(self, group: Sequence[VirtualPeer], senders: set[bytes]) -> list[float]:
        return [self._payload * (len(senders) - (peer.id in senders)) for peer in group]

    def _over(self, relay: bytes, group: Sequence[VirtualPeer], senders: Sequence[bytes]) -> Trip:
        """All bring theirs, then the relay sends everyone else the others'."""
        sending, received = set(senders), self._received(group, set(senders))
        forwarded = sum(got for peer, got in zip(group, received, strict=True) if peer.id != relay)
        sent = [forwarded if peer.id == relay else self._payload * (peer.id in sending) for peer in group]
        bring = max(self._payload / peer.up for peer in group if peer.id != relay and peer.id in sending)
        give = forwarded / self._rates[relay]
        take = max(got / peer.down for peer, got in zip(group, received, strict=True))
        outside = relay == COORDINATOR
        carried, brought = (forwarded, self._payload * len(senders)) if outside else (0.0, 0.0)
        return Trip(tuple(sent), tuple(received), bring + max(give, take), relay, carried, brought)


def _direct(group: Sequence[VirtualPeer], sent: Sequence[float], received: Sequence[float]) -> Trip:
    """All at once: the slowest link is waited for."""
    ways = zip(group, sent, received, strict=True)
    seconds = max(max(out / peer.up, into / peer.down) for peer, out, into in ways)
    return Trip(tuple(sent), tuple(received), seconds)
