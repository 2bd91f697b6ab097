"""How a round's group is formed once the round closes: who is waited for, for how long, and who decides. The decision
itself is the exchange's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from peer.exchange.closing import rules_of
from peer.exchange.rounds import Appeal, Form, Limits, Quorum, Ready, Reopen, Wait, decide_group
from swarm.cli.rehearsal.peers import VirtualPeer
from swarm.cli.rehearsal.plan import Plan
from swarm.cli.rehearsal.work import MOMENT, Part, Work

_INVITATIONS = 5  # rounds that wait for a peer that fetches the state (`peer.exchange.leader`)
_BELIEVED = {False: 10.0, True: 30.0}  # seconds that one who fell silent counts as live, in gradient and in local mode

Decision = Form | Wait | Reopen | Appeal


@dataclass(frozen=True)
class Hall:
    """Who waits for a round's group: `working` have a part in it and will be ready, the senior one first, `guests`
    fetch the state, `silent` went without a goodbye, or will before they are ready.
    """

    plan: Plan
    closes: float
    work: Work
    working: Sequence[VirtualPeer]
    guests: Sequence[VirtualPeer]
    silent: Sequence[VirtualPeer]

    @classmethod
    def of(cls, plan: Plan, peers: Sequence[VirtualPeer], work: Work) -> Hall:
        """When the round closes."""
        now, believed = work.closes, _BELIEVED[plan.local]
        guests = [p for p in peers if p.fetches <= now < p.enters < p.until and p.waited_for < _INVITATIONS]
        working = [
            p for p in peers if p.number in work.parts and p.since <= now and work.parts[p.number].ready < p.until
        ]
        working.sort(key=lambda peer: (peer.since, peer.number))
        known = set(working)
        silent = [p for p in peers if p.enters <= now < p.until + believed and p not in known]
        return cls(plan, now, work, working, guests, silent)

    @property
    def leader(self) -> VirtualPeer:
        return self.working[0]

    def part(self, peer: VirtualPeer) -> Part:
        """A guest's is empty."""
        return self.work.parts.get(peer.number) or Part(0, peer.enters)

    def moments(self) -> list[float]:
        """When the leader may come to a decision: all are ready; the grace time is over; guests were waited for."""
        exchange, earliest = self.plan.spec.exchange, self.part(self.leader).ready
        ready = math.inf if self.silent else max(self.part(peer).ready for peer in self.working)
        guests = max((peer.enters for peer in self.guests), default=-math.inf)
        first = min(max(ready, guests), self.closes + exchange.grace_seconds + MOMENT)
        last = min(max(ready, guests), self.closes + exchange.timeout_seconds + MOMENT)
        return sorted({max(first, earliest), max(last, earliest)})

    def ready(self, now: float) -> list[VirtualPeer]:
        """Those who have said so, the leader first."""
        return [peer for peer in (*self.working, *self.guests) if self.part(peer).ready <= now]

    def decided(self, now: float, quorum: Quorum, makers: tuple[str, ...]) -> Decision:
        """What the leader decides then; `makers` made the state that all hold."""
        rules = rules_of(self.plan.spec)
        words = {
            peer.id: Ready(self.part(peer).samples, "", False, self.part(peer).ready, "", peer.name, makers)
            for peer in self.ready(now)
        }
        return decide_group(
            expected=[peer.id for peer in (*self.working, *self.guests, *self.silent)],
            active_members=len(self.working),
            ready=words,
            own=self.leader.id,
            closing=rules.closing,
            waited=now - self.closes,
            limits=Limits(rules.grace, rules.patience, self._hosted(), rules.contributors),
            quorum=quorum,
        )

    def _hosted(self) -> frozenset[bytes]:
        """Who is waited for as long as an exchange may take: in the first round only."""
        return frozenset(peer.id for peer in self.guests if not peer.waited_for)
