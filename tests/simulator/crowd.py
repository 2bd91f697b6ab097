"""Thousands of virtual members: the coordinator's state machine and the decisions of the rounds, round by round.

Time is virtual, every message arrives or is lost at once; who is killed, silent, cut off, late or wrong is drawn from a
seed. What must hold is checked all the time; a broken rule raises AssertionError.
"""

from __future__ import annotations

import gc
import hashlib
import random
from dataclasses import dataclass, field

from coordinator import decisions as d
from coordinator import events as e
from coordinator import invariants
from coordinator.ledger import Claim, Ledger
from coordinator.records import Checkpoint, Metrics, Pulse, RoundReport, Terms
from coordinator.state import State
from coordinator.tick import tick
from peer.exchange.closing import SampleTarget
from peer.exchange.rounds import Apply, Commit, Form, Limits, Quorum, Ready, decide_group, decide_outcome
from swarm.checks import Level
from swarm.ranges import Range, RangeSet, subtract

SAMPLES = 4  # of a member in a round
AHEAD = 20  # rounds that a lease lasts
ROUND_SECONDS = 5.0
_DEEP_CHECK = 50  # rounds between two looks at the whole state


@dataclass
class Someone:
    """A member: what it holds, and what the coordinator has not heard of it."""

    name: str
    id: bytes
    round: int = 0
    digest: str = "start"
    up: bool = True
    session: int = 0
    lease: str = ""
    left: Range = field(default_factory=lambda: Range(0, 0))
    unsent: list[RoundReport] = field(default_factory=list)


@dataclass(frozen=True)
class Odds:
    """Of what befalls a member, or a whole round, in each round."""

    killed: float = 0.01
    back: float = 0.3
    silent: float = 0.02  # is not ready in time
    late: float = 0.05  # its report comes a round later
    twice: float = 0.02  # its report comes again
    flips: float = 0.001  # its average is another one
    leader_dies: float = 0.02
    cut: float = 0.03  # a part of the swarm does not take part


class Crowd:
    """One run of so many members."""

    def __init__(self, members: int, seed: int, odds: Odds = Odds()) -> None:
        self.rng = random.Random(seed)
        self.odds = odds
        self.now = 0.0
        terms = Terms("crowd", 1 << 20, SAMPLES * members // 2, 1 << 40, heartbeat_seconds=4 * ROUND_SECONDS)
        start = Checkpoint(0, "start", "0" * 64, 1, 0)
        self.state = State(terms=terms, ledger=Ledger(terms.epoch_samples), checkpoints={0: start})
        self.people = [Someone(f"m{number}", number.to_bytes(4, "big")) for number in range(members)]
        self.digests = {0: "start"}
        self.makers: tuple[str, ...] = ()
        self.failed_rounds = 0
        self._counted = RangeSet()
        self._join(self.people)

    @property
    def round(self) -> int:
        """Of the newest agreed state."""
        return max(self.digests)

    def run(self, rounds: int) -> None:
        """So many tries of a round; some fail, and are tried again."""
        gc.disable()  # half of the time would go into searching millions of values for cycles, of which there are none
        try:
            for number in range(rounds):
                self._step()
                if number % _DEEP_CHECK == 0:
                    self._look_deep()
            self._look_deep()
        finally:
            gc.enable()

    def _step(self) -> None:
        self.now += ROUND_SECONDS
        self._come_and_go()
        present = [one for one in self.people if one.up]
        self._lease(present)
        taking_part = self._reachable(present)
        if formed := self._form(taking_part, present):
            self._exchange(formed, {one.id: one for one in taking_part})
        self._talk()
        self._catch_up()

    # ── who is there ───────────────────────────────────────────────────────────────────────────

    def _come_and_go(self) -> None:
        back = []
        for one in self.people:
            if one.up and self.rng.random() < self.odds.killed:
                one.up = False
            elif not one.up and self.rng.random() < self.odds.back:
                one.up, one.session, one.lease = True, one.session + 1, ""
                one.round, one.digest = self.round, self.digests[self.round]
                back.append(one)
        self._join(back)

    def _join(self, some: list[Someone]) -> None:
        self._tell([e.Join(one.name, b"k" * 32, one.name, "1", one.round, session=_session(one)) for one in some])

    def _lease(self, present: list[Someone]) -> None:
        wanting = [one for one in present if len(one.left) < SAMPLES]
        made = self._tell([e.TakeLease(one.name, AHEAD * SAMPLES, _session(one)) for one in wanting])
        granted = {item.lease.member: item.lease for item in made if isinstance(item, d.LeaseGranted)}
        for one in wanting:
            if lease := granted.get(one.name):
                one.lease, one.left = lease.id, lease.range

    def _reachable(self, present: list[Someone]) -> list[Someone]:
        part = self.rng.random() if self.rng.random() < self.odds.cut else 1.0
        return [
            one
            for one in present
            if one.round == self.round and self.rng.random() < part and self.rng.random() >= self.odds.silent
        ]

    # ── a round ────────────────────────────────────────────────────────────────────────────────

    def _form(self, taking_part: list[Someone], present: list[Someone]) -> Form | None:
        """The group, if the rules let these make one."""
        ready = {
            one.id: Ready(min(SAMPLES, len(one.left)), one.digest, False, self.now, "", one.name, self.makers)
            for one in taking_part
        }
        if not ready:
            return None
        decision = decide_group(
            expected=ready.keys(),
            active_members=len(present),
            ready=ready,
            own=min(ready),
            closing=SampleTarget(SAMPLES),
            waited=0.0,
            limits=Limits(5.0, 15.0),
            quorum=Quorum(granted=self._granted(taking_part)),
        )
        if not isinstance(decision, Form):
            self.failed_rounds += 1
            return None
        votes = len({one.name for one in taking_part} & set(self.makers))
        assert not self.makers or 2 * votes >= len(self.makers), "a minority makes a round"
        return decision

    def _granted(self, some: list[Someone]) -> frozenset[str]:
        """Those who make a state of unknown makers; asked only then."""
        if self.makers:
            return frozenset()
        names = frozenset(one.name for one in some)
        made = self._tell([e.AskRound(some[0].name, self.round, names, _session(some[0]))])
        return names if any(isinstance(item, d.RoundGranted) for item in made) else frozenset()

    def _exchange(self, formed: Form, people: dict[bytes, Someone]) -> None:
        group = formed.members
        if self.rng.random() < self.odds.leader_dies:
            people[min(group)].up = False
            self.failed_rounds += 1
            return
        commits = {}
        for member in group:
            flawed = self.rng.random() < self.odds.flips
            commits[member] = Commit(True, f"flaw{member.hex()}" if flawed else "average", 1.0)
        outcome = decide_outcome(
            group=group, needs=formed.needs, commits=commits, own=min(group), waited=0.0, patience=15.0
        )
        if not isinstance(outcome, Apply):
            self.failed_rounds += 1
            return
        said = f"{self.digests[self.round]}/{len(group)}/{self.round}"
        digest, next_round = hashlib.sha256(said.encode()).hexdigest()[:16], self.round + 1
        assert next_round not in self.digests, "a round is made twice"
        applied = [people[member] for member in group if commits[member].digest == outcome.digest]
        assert 2 * len(applied) > len(group), "a minority of a group applies"
        for one in applied:
            self._apply(one, next_round, digest, len(group))
        self.digests[next_round] = digest
        self.makers = tuple(people[member].name for member in group)

    def _apply(self, one: Someone, round_: int, digest: str, members: int) -> None:
        assert one.round + 1 == round_, "a member leaves a round out"
        used = Range(one.left.start, one.left.start + min(SAMPLES, len(one.left)))
        one.left, one.round, one.digest = Range(used.stop, one.left.stop), round_, digest
        metrics = Metrics(digest, SAMPLES * members, 0, members, len(used), 1.0, 1, 1, 1, 1, self.now)
        claims = (Claim(one.lease, used),) if used else ()
        one.unsent.append(RoundReport(f"{one.name}.{one.session}/{round_}", round_ - 1, metrics, claims))

    # ── the coordinator ────────────────────────────────────────────────────────────────────────

    def _talk(self) -> None:
        """Signs of life, and reports: some later, some twice."""
        events: list[e.Event] = []
        for one in self.people:
            if not one.up:
                continue
            events.append(e.Heartbeat(one.name, Pulse(round=one.round, samples_per_second=1.0), _session(one)))
            if one.unsent and self.rng.random() >= self.odds.late:
                events.append(self._report(one))
        self._tell(events)

    def _report(self, one: Someone) -> e.Event:
        reports = tuple(one.unsent) * (1 + (self.rng.random() < self.odds.twice))
        one.unsent.clear()
        return e.Report(one.name, reports, session=_session(one))

    def _catch_up(self) -> None:
        for one in self.people:
            if one.up and one.round != self.round:
                one.round, one.digest = self.round, self.digests[self.round]

    def _tell(self, events: list[e.Event]) -> list[d.Decision]:
        self.state, made = tick(self.state, events, self.now, self.rng.getrandbits(32))
        for item in made:
            if isinstance(item, d.ReportFiled):
                for entry in item.entries:
                    if entry.state == "counted":
                        assert not self._counted.overlap(entry.range), f"{entry.range} is counted twice"
                        self._counted.add(entry.range)
            elif isinstance(item, d.WentBack):
                for entry in item.undone:
                    self._counted.ranges = subtract(self._counted.ranges, entry.range)
        return made

    def _look_deep(self) -> None:
        failed = [check.says for check in invariants.of_state(self.state) if check.level is Level.FAILED]
        assert not failed, failed


def _session(one: Someone) -> str:
    return f"{one.name}.{one.session}"
