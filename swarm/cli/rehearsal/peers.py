"""Virtual peers: how fast they are, and when they are here."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from swarm.cli.rehearsal.plan import MEGABIT, Plan, Swarm

START = 15.0  # seconds from the join until torch is loaded and the others are found
_SLOWNESS = 4.0
_HOUR = 3600.0
_RAREST = 1e-9  # departures an hour: fewer are none


@dataclass(eq=False)
class VirtualPeer:
    """A peer, here from `since` until `until`, or coming then. It fetches the state from `fetches` until `enters`,
    holds it from then on, and works on the round since `begun`. Seconds of virtual time; `rate` in samples, `up` and
    `down` in bytes per second.

    `waited_for` counts the rounds that waited while it fetched a state, in vain.
    """

    number: int
    rate: float
    up: float
    down: float
    lies: bool
    since: float = 0.0
    until: float = math.inf
    fetches: float = 0.0
    enters: float = 0.0
    begun: float = 0.0
    session: int = 0
    waited_for: int = 0

    @property
    def id(self) -> bytes:
        return self.number.to_bytes(4, "big")

    @property
    def name(self) -> str:
        return f"p{self.number}"

    def here(self, now: float) -> bool:
        return self.since <= now < self.until

    def fetch(self, begin: float, seconds: float) -> None:
        """Fetch the newest state, from then on."""
        self.fetches = begin
        self.enters = self.begun = begin + seconds

    def holds(self, now: float) -> bool:
        """Whether it is here with the newest state."""
        return max(self.since, self.enters) <= now < self.until


def drawn(plan: Plan, rng: random.Random) -> list[VirtualPeer]:
    """The swarm's peers. The uplink scales all links alike, and every peer draws the same for every spec and swarm."""
    swarm = plan.swarm
    draws = [(rng.gauss(0, 1), rng.gauss(0, 1), rng.random()) for _ in range(swarm.peers)]
    liars = set(rng.sample(range(swarm.peers), swarm.attackers))
    return [
        VirtualPeer(
            number=number,
            rate=plan.speed.rate * math.exp(swarm.spread * fast) / (_SLOWNESS if odd < swarm.slow else 1.0),
            up=swarm.uplink * MEGABIT * math.exp(swarm.link_spread * wide),
            down=swarm.downlink * MEGABIT * math.exp(swarm.link_spread * wide),
            lies=number in liars,
        )
        for number, (fast, wide, odd) in enumerate(draws)
    ]


class Presence:
    """When peers go and come back: each draws for itself. Liars stay."""

    def __init__(self, swarm: Swarm, rng: random.Random) -> None:
        self._stays = _HOUR / swarm.churn if swarm.churn > _RAREST else math.inf  # on the average
        self._away = swarm.away
        self._rng = rng

    def begin(self, peer: VirtualPeer) -> None:
        """As if it had come and gone for long: some are away now."""
        if peer.lies or self._stays == math.inf:
            return
        if self._rng.random() < self._away / (self._away + self._stays):
            peer.since = peer.enters = peer.begun = self._rng.expovariate(1 / self._away)
        peer.until = peer.since + self._rng.expovariate(1 / self._stays)

    def again(self, peer: VirtualPeer, fetch: float) -> None:
        """After it went: when it will be back, with a state that takes `fetch` seconds."""
        peer.since = peer.until + self._rng.expovariate(1 / self._away)
        peer.until = peer.since + self._rng.expovariate(1 / self._stays)
        peer.fetch(peer.since + START, fetch)
        peer.session, peer.waited_for = peer.session + 1, 0
