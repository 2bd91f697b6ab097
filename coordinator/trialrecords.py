"""What is kept of trials: campaigns, who has which unit, answers, what was found, and what was decided. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from immutables import Map

from coordinator.records import Trust
from swarm.trials.answers import Item
from swarm.trials.chain import START, Entry

UnitKey = tuple[str, int]  # a campaign's id, and the number of one of its units
UNDECIDED = "undecided"  # no two answers tell the same


@dataclass(frozen=True)
class Campaign:
    """A checkpoint (θ_round with that state `digest`) held against a suite: `items` in units of `unit_items`, each of
    which may take `seconds`. `tolerance`: see `swarm.trials.answers.same`. `started_by` is the id of the invite. Unix
    seconds; `ended_at` 0 while it goes on, `why` says why it ended before its last unit.
    """

    id: str
    number: int
    kind: str
    suite: str
    suite_digest: str
    round: int
    digest: str
    items: int
    unit_items: int
    seconds: float
    tolerance: float
    started_at: float
    started_by: str
    ended_at: float = 0.0
    why: str = ""

    @property
    def units(self) -> int:
        return -(-self.items // self.unit_items)

    def span(self, unit: int) -> tuple[int, int]:
        """The first item of a unit, and how many it has."""
        first = unit * self.unit_items
        return first, min(self.unit_items, self.items - first)


@dataclass(frozen=True)
class Holding:
    """A key has a unit until `deadline` (Unix seconds); `invite` is the id of the one that it asked with."""

    campaign: str
    unit: int
    key: str
    invite: str
    deadline: float


@dataclass(frozen=True)
class Answer:
    """What a key found for a unit. `verdict` is empty until others answered, too, then right, wrong or undecided;
    `receipt` counts the key's decided answers, from 1.
    """

    campaign: str
    unit: int
    key: str
    invite: str
    at: float
    items: tuple[Item, ...]
    verdict: str = ""
    why: str = ""
    receipt: int = 0


@dataclass(frozen=True)
class Unit:
    """One that was begun. When it is settled, `found` is what its right answers say together, of so many; nothing when
    it stays undecided.
    """

    holdings: tuple[Holding, ...] = ()
    answers: tuple[Answer, ...] = ()
    settled: bool = False
    found: tuple[Item, ...] = ()
    agreeing: int = 0

    def without(self, key: str) -> Unit:
        """As if the key had never taken it."""
        return replace(self, holdings=tuple(one for one in self.holdings if one.key != key))

    def with_holding(self, given: Holding) -> Unit:
        """With that key's in place of what it had; in the order of the tables."""
        held = sorted((*self.without(given.key).holdings, given), key=lambda one: one.key)
        return replace(self, holdings=tuple(held))


@dataclass(frozen=True)
class Finding:
    """What somebody found by hand; `id` is F1, F2, … Unix seconds. `disclose` is when its reproduction is told."""

    id: str
    title: str
    severity: str
    category: str
    state: str
    invite: str
    at: float
    disclose: float


@dataclass(frozen=True)
class Record:
    """The public record: how many entries, the last one's hash, the findings in it, and what is said of each campaign
    that ended.
    """

    count: int = 0
    head: str = START
    findings: Mapping[str, Finding] = field(default_factory=dict)
    ended: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Trials:
    """`campaigns` all, by id; `units` those begun of the open ones; `tallies` what became of each key's answers;
    `heard` when each invite last asked (Unix seconds; in no table).
    """

    campaigns: Mapping[str, Campaign] = field(default_factory=dict)
    units: Map[UnitKey, Unit] = Map()
    tallies: Map[str, Trust] = Map()
    heard: Mapping[str, float] = field(default_factory=dict)

    @property
    def open(self) -> list[Campaign]:
        """Those that go on, the oldest first."""
        return sorted((one for one in self.campaigns.values() if not one.ended_at), key=lambda one: one.number)

    def unit(self, campaign: str, number: int) -> Unit:
        return self.units.get((campaign, number), Unit())


# ── decisions ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class TrialDecision:
    """One about trials or the record; most say nothing in the log."""

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class CampaignStarted(TrialDecision):
    campaign: Campaign

    def __str__(self) -> str:
        found = self.campaign
        return f"Campaign {found.id} began: {found.suite} on the checkpoint of round {found.round}."


@dataclass(frozen=True)
class CampaignEnded(TrialDecision):
    campaign: Campaign

    def __str__(self) -> str:
        found = self.campaign
        return f"Campaign {found.id} ended{f': {found.why}' if found.why else ''}."


@dataclass(frozen=True)
class UnitGiven(TrialDecision):
    """`holding` says which, and until when."""

    campaign: Campaign
    holding: Holding


@dataclass(frozen=True)
class UnitDenied(TrialDecision):
    why: str


@dataclass(frozen=True)
class UnitAnswered(TrialDecision):
    answer: Answer


@dataclass(frozen=True)
class AnswerKnown(TrialDecision):
    """It was told before."""

    answer: Answer


@dataclass(frozen=True)
class UnitSettled(TrialDecision):
    """All answers to a unit with their verdicts."""

    campaign: Campaign
    number: int
    answers: tuple[Answer, ...]

    def __str__(self) -> str:
        wrong = [one for one in self.answers if one.verdict != "right"]
        of = f"unit {self.number} of campaign {self.campaign.id}"
        if any(one.verdict == UNDECIDED for one in wrong):
            return f"No two of {len(wrong)} answers to {of} tell the same: it is left out."
        return f"{', '.join(one.key for one in wrong)} answered otherwise than the others to {of}." if wrong else ""


@dataclass(frozen=True)
class TallyChanged(TrialDecision):
    tally: Trust


@dataclass(frozen=True)
class Recorded(TrialDecision):
    """An entry of the public record; `hidden` is what its commitment is of, as JSON, empty for none."""

    entry: Entry
    hidden: str = ""

    def __str__(self) -> str:
        said = self.entry.said
        if self.entry.kind == "finding":
            return f"Finding {said['id']} ({said['severity']}): {said['title']}."
        return f"Finding {said['id']} is {said['state']} now." if self.entry.kind == "finding-state" else ""
