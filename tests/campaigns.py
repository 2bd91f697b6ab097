"""Random histories of campaigns: keys that take units, answer rightly, wrongly, late, twice or never."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from coordinator import decisions as d
from coordinator import events as e
from coordinator.state import State
from coordinator.tick import tick
from coordinator.trialrecords import Campaign, CampaignStarted, Holding, UnitGiven
from swarm.trials import probes
from swarm.trials.answers import Item
from swarm.trials.names import EVALUATE, GARAGE, HELDOUT, REDTEAM, TOLERANCE
from tests.histories import START, fresh

NOW = 1_700_000_000.0


def campaign(items: int = 10, unit_items: int = 4, kind: str = EVALUATE, **more: float) -> Campaign:
    """As a maintainer starts it."""
    suite = HELDOUT if kind == EVALUATE else GARAGE
    facts = {"seconds": 100.0, "tolerance": TOLERANCE[kind], "started_at": 0.0, **more}
    return Campaign("", 0, kind, suite, "a" * 64, START.round, START.digest, items, unit_items, started_by="m", **facts)


def truth(holding: Holding, of: Campaign, shift: float = 0.0) -> tuple[Item, ...]:
    """What an honest key finds; `shift` makes it another answer."""
    first, count = of.span(holding.unit)
    if of.kind == REDTEAM:
        said = [hashlib.sha256(f"{index}/{shift}".encode()).hexdigest() for index in range(first, first + count)]
        return tuple(Item(first + place, float(shift == 0.0), 1.0, text) for place, text in enumerate(said))
    return tuple(Item(index, 2.0 * (index + 1) * (1 + shift), 8.0) for index in range(first, first + count))


def started(state: State | None = None, of: Campaign | None = None) -> tuple[State, Campaign]:
    """A run with a campaign."""
    state, made = tick(state or fresh(), [e.StartCampaign(of or campaign())], NOW, 1)
    [begun] = [one for one in made if isinstance(one, CampaignStarted)]
    return state, begun.campaign


@dataclass
class Story:
    """Some honest keys and some liars, each with an invite; `state` may be replaced by what a store read back."""

    seed: int
    keys: int = 5
    liars: int = 1
    invites: int = 2
    state: State = field(default_factory=fresh)
    now: float = NOW
    given: list[UnitGiven] = field(default_factory=list)

    def steps(self, count: int) -> Iterator[tuple[State, list[d.Decision], State, float]]:
        """(state before, decisions, state after, time) of each event."""
        rng = random.Random(self.seed)
        for number in range(count):
            self.now += rng.choice([0.0, 1.0, 10.0, 60.0, 700.0])
            before = self.state
            self.state, made = tick(before, [self._event(rng, number)], self.now, rng.getrandbits(32))
            self.given += [one for one in made if isinstance(one, UnitGiven)]
            yield before, made, self.state, self.now

    def liar(self, key: str) -> bool:
        return int(key[1:]) < self.liars

    def invite(self, key: str) -> str:
        return f"i{int(key[1:]) % self.invites}"

    def _event(self, rng: random.Random, number: int) -> e.Event:
        key = f"k{rng.randrange(self.keys)}"
        kind = rng.choices(["start", "stop", "take", "answer", "nonsense", "find"], [2, 0.3, 10, 10, 1, 1])[0]
        if number == 0 or kind == "start":
            small = rng.randrange(1, min(12, len(probes.own()) + 1))
            made = campaign(small, rng.randrange(1, 5), rng.choice([EVALUATE, REDTEAM]))
            return e.StartCampaign(made)
        if kind == "stop":
            return e.StopCampaign(f"C{rng.randrange(5)}", "enough")
        if kind == "take" or not self.given:
            return e.TakeUnit(key, self.invite(key))
        if kind == "find":
            known = rng.choice(["F1", "F2", ""])
            if known:
                return e.ResolveFinding(known, rng.choice(["fixed", "open"]), "looked at", "m")
            return e.ReportFinding("It says so", "high", "leak", "ask it", self.now + 100, self.invite(key))
        return self._answer(rng, nonsense=kind == "nonsense")

    def _answer(self, rng: random.Random, nonsense: bool) -> e.AnswerUnit:
        given = rng.choice(self.given[-12:])
        held = given.holding
        items = truth(held, given.campaign, 0.5 + rng.random() if self.liar(held.key) else 0.0)
        if nonsense:
            items = (*items[1:], replace(items[0], value=float("nan")))
        return e.AnswerUnit(held.key, held.invite, held.campaign, held.unit, items)
