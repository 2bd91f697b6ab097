"""Looking for a story that breaks the swarm, and for the shortest one that still does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.simulator.world import KINDS, Fault, World

SECONDS = 60.0


@dataclass(frozen=True)
class Story:
    """A swarm and what befalls it; `repr` is enough to tell it again."""

    peers: int
    seed: int
    faults: tuple[Fault, ...]

    def broken(self) -> str:
        """What did not hold; empty when all did."""
        try:
            World(self.peers, self.seed).run(self.faults, SECONDS)
        except AssertionError as error:
            return str(error)
        return ""


def story(seed: int) -> Story:
    """One of many: up to seven peers, up to seven faults."""
    rng = random.Random(seed)
    return Story(rng.randint(1, 7), seed, tuple(_fault(rng) for _ in range(rng.randint(0, 7))))


def shortest(broken: Story) -> Story:
    """The same with as few faults and peers as still break it."""
    while smaller := next((one for one in _smaller(broken) if one.broken()), None):
        broken = smaller
    return broken


def _fault(rng: random.Random) -> Fault:
    who = tuple(rng.sample(range(7), rng.randint(1, 4)))
    return Fault(rng.randrange(int(SECONDS)), rng.choice(KINDS), who, rng.choice([0.0, 0.5, 2.0, 7.0, 15.0, 40.0]))


def _smaller(one: Story) -> Iterator[Story]:
    for index, fault in enumerate(one.faults):
        rest = one.faults[:index], one.faults[index + 1 :]
        yield replace(one, faults=(*rest[0], *rest[1]))
        if len(fault.who) > 1:
            for gone in fault.who:
                fewer = replace(fault, who=tuple(who for who in fault.who if who != gone))
                yield replace(one, faults=(*rest[0], fewer, *rest[1]))
    if one.peers > 1:
        yield replace(one, peers=one.peers - 1)
