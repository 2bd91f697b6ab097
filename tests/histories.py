"""Random histories of a run, for the laws of ledger, state and store."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from coordinator import decisions as d
from coordinator import events as e
from coordinator.ledger import END, Claim, Lease, Ledger
from coordinator.records import (
    Checkpoint,
    Evaluation,
    Metrics,
    Pulse,
    Quarantine,
    Receipt,
    RoundReport,
    Terms,
    TextSample,
)
from coordinator.rounds import ReportDeferred
from coordinator.state import State
from coordinator.tick import tick
from swarm.faults import Fault
from swarm.ranges import Range, total

TERMS = Terms(run="law", total_rounds=40, target_batch_size=8, epoch_samples=50, keep_checkpoints=2)
START = Checkpoint(round=0, digest="d0", sha256="0" * 64, size=1, global_samples=0)


def fresh(terms: Terms = TERMS) -> State:
    return State(terms=terms, ledger=Ledger(terms.epoch_samples), checkpoints={0: START})


def report(key: str, round_: int, claims: tuple[Claim, ...], digest: str = "", dropped: str = "") -> RoundReport:
    metrics = Metrics(
        digest or f"d{round_ + 1}", 8, 8 * (round_ + 1), 2, total(c.range for c in claims), 1.0, 1, 1, 1, 1, 1
    )
    counted, lost = ((), claims) if dropped else (claims, ())
    return RoundReport(key, round_, metrics, counted, lost, dropped)


@dataclass
class History:
    """Members that lease, report (also late, twice, wrongly), vanish and come back; a coordinator that restarts.

    `state` may be replaced between steps by what a store read back.
    """

    seed: int
    state: State = field(default_factory=fresh)
    now: float = 1000.0
    granted: list[Lease] = field(default_factory=list)
    known: dict[str, tuple[Receipt, ...]] = field(default_factory=dict)
    said: list[e.Report] = field(default_factory=list)
    later: list[e.Report] = field(default_factory=list)  # that the coordinator wants to hear again
    keys: str = "k"  # what its reports' keys begin with
    bans: float = 0.0  # the part of its events that are bans, or lift them, or trust somebody

    def steps(self, count: int) -> Iterator[tuple[State, list[d.Decision], State, float]]:
        """(state before, decisions, state after, time) of each tick."""
        rng = random.Random(self.seed)
        for number in range(count):
            self.now += rng.choice([0.0, 0.1, 1.0, 4.0, 4.0, 14.0, 16.0, 61.0])
            before = self.state
            events = [*self._beats(rng), self._ban(number) or self._event(rng, number)]
            self.state, made = tick(before, events, self.now, rng.getrandbits(32))
            for item in made:
                if isinstance(item, d.LeaseGranted):
                    self.granted.append(item.lease)
                if isinstance(item, d.ReportFiled):
                    self.known[item.report.key] = item.receipts
            if any(isinstance(item, ReportDeferred) for item in made):
                self.later += [event for event in events if isinstance(event, e.Report)]
            yield before, made, self.state, self.now

    def _beats(self, rng: random.Random) -> list[e.Event]:
        """Nearly everybody is heard in time; sometimes nobody is, and their memberships end."""
        heard = [member.id for member in self.state.live if rng.random() < 0.95]
        speeds = {who: rng.choice([0.0, 1.0, 4.0]) for who in heard}
        if rng.random() < 0.05:
            return []
        ill = [self._quarantine(rng) for _ in heard] if rng.random() < 0.02 else [None] * len(heard)
        pulses = [Pulse(samples_per_second=speeds[who], quarantine=why) for who, why in zip(heard, ill, strict=True)]
        return [
            e.Heartbeat(who, pulse, lineage=max(0, self.state.lineage - (rng.random() < 0.02)))
            for who, pulse in zip(heard, pulses, strict=True)
        ]

    def _ban(self, number: int) -> e.Event | None:
        """With chances of their own: without bans a seed tells the same story."""
        rng = random.Random(f"{self.seed}/{number}")
        if rng.random() >= self.bans:
            return None
        who = f"m{rng.randrange(4)}"
        if rng.random() < 0.3:
            return e.TrustKey(who, who, rng.choice(["", "cafe0123"]), rng.choice(["", "a friend"]))
        return e.Unban(who) if rng.random() < 0.6 else e.Ban(who, who, rng.choice(["lies", "spam"]))

    def _quarantine(self, rng: random.Random) -> Quarantine | None:
        """Mostly everybody's, so that the run goes back."""
        fault, round_ = (
            rng.choice(list(Fault)[:2] * 3 + list(Fault)),
            max(0, self.state.round - rng.choice([0, 0, 1, 2])),
        )
        return None if rng.random() < 0.2 else Quarantine(fault, round_, rng.choice([1, 2]), "the loss is nan")

    def _left_in(self, number: int) -> int:
        """Each second one that is back had said goodbye."""
        return self.state.round if number % 2 else 0

    def _event(self, rng: random.Random, number: int) -> e.Event:
        who = f"m{rng.randrange(4)}"
        member = self.state.members.get(who)
        if (member is None or not member.live) and rng.random() < 0.8:
            round_ = rng.choice([0, 0, self.state.round])
            lineage = max(0, self.state.lineage - (rng.random() < 0.1))
            credit = rng.choice(["", f"{who} of B"])
            return e.Join(
                who, who.encode() * 16, who, "1", round_, credit, lineage=lineage, left_in=self._left_in(number)
            )
        match rng.choices(
            ["leave", "resumed", "join", "ask", "lease", "checkpoint", "evaluation", "report"],
            [1, 1, 1, 1, 8, 3, 2, 16],
        )[0]:
            case "leave" | "resumed" | "join" as kind:
                lineage = self.state.lineage
                again = e.Join(who, who.encode() * 16, who, "1", lineage=lineage, left_in=self._left_in(number))
                changes = {"leave": e.Leave(who, "tired"), "join": again}
                return changes.get(kind, e.Resumed())
            case "ask":
                together = frozenset({who, f"m{rng.randrange(4)}"})
                return e.AskRound(who, self.state.round + rng.choice([0, 0, 1]), together)
            case "lease":
                return e.TakeLease(who, rng.randrange(1, 20))
            case "checkpoint":
                return self._checkpoint(rng, who)
            case "evaluation":
                return e.Evaluated(who, self._evaluation(rng, who))
            case _:
                return self._report(rng, who, number)

    def _report(self, rng: random.Random, who: str, number: int) -> e.Report:
        if self.later and rng.random() < 0.5:
            return self._again(self.later.pop(0))
        if self.said and rng.random() < 0.15:
            return self._again(rng.choice(self.said))
        claims = tuple(self._claims(rng, who))
        round_ = max(0, self.state.round + rng.choice([0, 0, 0, 0, 1, -1, -3]))
        dropped = "late by 4 s" if rng.random() < 0.15 else ""
        digest = "other" if rng.random() < 0.1 else ""
        one = report(f"{self.keys}{number}", round_, claims, digest, dropped)
        one = replace(one, lineage=max(0, self.state.lineage - (rng.random() < 0.1)))
        if rng.random() < 0.03:
            one = replace(one, metrics=replace(one.metrics, loss=math.nan))
        said = e.Report(who, (one, one) if rng.random() < 0.05 else (one,))
        self.said.append(said)
        return said

    def _again(self, said: e.Report) -> e.Report:
        return replace(said, known={r.key: self.known[r.key] for r in said.reports if r.key in self.known})

    def _claims(self, rng: random.Random, who: str) -> Iterator[Claim]:
        """Mostly parts of the member's own leases, the newest first; now and then anything of anybody's."""
        mine = [lease for lease in self.granted if lease.member == who][-3:]
        for lease in rng.sample(mine, rng.randrange(len(mine) + 1)):
            start = rng.choice([lease.range.start, rng.randrange(*lease.range)])
            yield Claim(lease.id, Range(start, rng.randrange(start + 1, lease.range.stop + 2)))
        if self.granted and rng.random() < 0.15:
            other = rng.choice(self.granted)
            yield Claim(other.id, rng.choice([other.range, Range(0, 60)]))

    def _checkpoint(self, rng: random.Random, who: str) -> e.Event:
        waiting = list(self.state.offers.values())
        if waiting and rng.random() < 0.7:
            lie = rng.random() < 0.1
            return e.CheckpointUploaded(waiting[0].sha256, "lie" if lie else waiting[0].digest)
        round_ = max(0, self.state.round + rng.choice([0, 0, 0, 1, -2]))
        sha256 = hashlib.sha256(f"{round_}/{rng.random()}".encode()).hexdigest()
        return e.OfferCheckpoint(who, Checkpoint(round_, f"d{round_}", sha256, 1, 8 * round_, uploaded_by=who))

    def _evaluation(self, rng: random.Random, who: str) -> Evaluation:
        round_ = max(0, self.state.round + rng.choice([0, 0, 0, 1, -2]))
        digest = rng.choice([f"d{round_}", f"d{round_}", "other"])
        loss = rng.choice([1 / 3] * 20 + [2.0] * 10 + [float("inf")])
        texts = (TextSample("Die ", "Straße\n\t<b>日本</b>"),) * (round_ % 3)
        return Evaluation(round_, digest, loss, {"bleu": 0.1 + 0.2, "exact match": 1e-300}, who, texts)


def counted(made: list[d.Decision]) -> list[Range]:
    filed = [item for item in made if isinstance(item, d.ReportFiled)]
    return [entry.range for item in filed for entry in item.entries if entry.state == "counted"]


def assert_every_position_in_one_place(ledger: Ledger, counted_ranges: list[Range]) -> None:
    """free + left in leases + counted = everything, and nothing twice."""
    parts = [*ledger.free, *(part for lease in ledger.leases.values() for part in lease.left), *counted_ranges]
    parts.sort()
    assert parts[0].start == 0
    assert parts[-1].stop == END
    for one, two in pairwise(parts):
        assert one.stop == two.start, f"{one} and {two} overlap or leave a gap"
