"""All that the coordinator decides by. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from immutables import Map

from coordinator import decisions as d
from coordinator import probation
from coordinator.ledger import Ledger
from coordinator.probation import Company
from coordinator.records import Ban, Checkpoint, Doubt, Evaluation, IssuedInvite, Member, RollBack, Terms, Trust
from coordinator.rounds import Poll
from coordinator.steering import Steering
from coordinator.tempo import Tempo
from coordinator.trialrecords import Record, Trials
from coordinator.watches import Watch
from swarm.identity import SEATS, seat_of

Votes = Map[int, Poll]


@dataclass(frozen=True)
class State:
    """A run. `checkpoints` and `evaluations` are accepted ones by round, `offers` wanted ones by their SHA-256,
    `invites` all that were made, by id, `bans` and `trust` what was decided of a key and found out about it, `watches`
    whom each checker watches (in no table: a coordinator that starts draws anew), `barred` until when the passes of
    members that were put out might count, `grants` who may make a round where that was asked, `reached` on how many
    rounds the members agree, `brought` checkpoints that are here and wait for that, by their SHA-256, `doubts` who
    found that a state on which they agree has no loss, by their keys (in no table, as `offers`), `rollbacks` every
    going back by rule, `steering` what the maintainer decided about the run, `trials` the campaigns, `record` what
    everybody may read of them and of findings. `tempo` is that of the live members, `company` counts them by their
    invites; before `due` (Unix seconds) no membership or lease ends alone, before `settled` nothing is lent.
    """

    terms: Terms
    ledger: Ledger
    members: Map[str, Member] = Map()
    tempo: Tempo = Tempo()
    company: Map[str, Company] = Map()
    due: float = 0.0
    settled: float = 0.0
    votes: Votes = Map()
    reached: int = 0
    checkpoints: Mapping[int, Checkpoint] = field(default_factory=dict)
    offers: Mapping[str, Checkpoint] = field(default_factory=dict)
    brought: Mapping[str, Checkpoint] = field(default_factory=dict)
    evaluations: Mapping[int, Evaluation] = field(default_factory=dict)
    invites: Mapping[str, IssuedInvite] = field(default_factory=dict)
    bans: Mapping[str, Ban] = field(default_factory=dict)
    trust: Map[str, Trust] = Map()
    watches: Map[str, Watch] = Map()
    barred: Mapping[str, float] = field(default_factory=dict)
    grants: Mapping[int, frozenset[str]] = field(default_factory=dict)
    doubts: Mapping[str, Doubt] = field(default_factory=dict)
    rollbacks: tuple[RollBack, ...] = ()
    steering: Steering = field(default_factory=Steering)
    trials: Trials = field(default_factory=Trials)
    record: Record = field(default_factory=Record)

    @property
    def round(self) -> int:
        """Rounds finished so far, as the members agree and checkpoints say."""
        return max(self.reached, max(self.checkpoints, default=0))

    @property
    def reported(self) -> int:
        """Rounds finished so far, as anybody says."""
        return max(self.round, max(self.votes, default=-1) + 1)

    def agreed_on(self, round_: int) -> str:
        """The digest of the state that the round made; empty while the members do not agree."""
        return self.votes.get(round_, Poll()).agreed

    @property
    def global_samples(self) -> int:
        """Samples in all finished rounds, as most members saw them."""
        poll = self.votes.get(self.round - 1)
        return poll.told.global_samples if poll else self.latest.global_samples

    @property
    def complete(self) -> bool:
        """Whether all its rounds are done."""
        return self.round >= self.terms.total_rounds

    @property
    def finished(self) -> bool:
        """Whether nothing is trained any more: it is complete, or its maintainer ended it."""
        return self.complete or bool(self.steering.finished)

    @property
    def lineage(self) -> int:
        """How often the run went back by rule: what belongs to an earlier lineage is void."""
        return self.rollbacks[-1].number if self.rollbacks else 0

    @property
    def halted(self) -> str:
        """Why the run was stopped; empty while it goes on."""
        return self.rollbacks[-1].why if self.rollbacks and self.rollbacks[-1].halted else ""

    @property
    def latest(self) -> Checkpoint:
        """Where a first peer starts."""
        return self.checkpoints[max(self.checkpoints)]

    @property
    def live(self) -> list[Member]:
        """The present members, in the order of their ids: that of a map depends on the process."""
        return sorted((member for member in self.members.values() if member.live), key=lambda member: member.id)

    def evaluation_of(self, checkpoint: Checkpoint) -> Evaluation | None:
        """What was measured on the checkpoint's state."""
        found = self.evaluations.get(checkpoint.round)
        return found if found is not None and found.digest == checkpoint.digest else None

    def with_member(self, member: Member) -> State:
        """With it in place of what it was before."""
        before, tempo, due = self.members.get(member.id), self.tempo, self.due
        if before is not None and before.live:
            tempo = tempo.minus(before.pulse.samples_per_second)
        if member.live:
            tempo = tempo.plus(member.pulse.samples_per_second)
            due = min(due, member.last_seen + self.terms.patience_seconds)
        company = self._company_with(before, member)
        return replace(self, members=self.members.set(member.id, member), tempo=tempo, due=due, company=company)

    def _company_with(self, before: Member | None, after: Member) -> Map[str, Company]:
        """The company once `after` is in place of `before`; most signs of life change nothing."""
        company = self.company
        if before and (before.live, before.invite) == (after.live, after.invite):
            return company
        if before and before.live:
            company = company.set(before.invite, company[before.invite].minus(not self.probation(before)))
        if after.live:
            there = company.get(after.invite, Company())
            company = company.set(after.invite, there.plus(not self.probation(after)))
        return company

    def with_trust(self, trust: Trust) -> State:
        """With that known of a key."""
        seats = [self.members.get(seat_of(trust.key, number)) for number in range(SEATS)]
        here, company = [member for member in seats if member and member.live], self.company
        after = replace(self, trust=self.trust.set(trust.key, trust))
        for member in here:
            there = company[member.invite].minus(not self.probation(member)).plus(not after.probation(member))
            company = company.set(member.invite, there)
        return replace(after, company=company)

    def probation(self, member: Member) -> str:
        """Why the member's updates weigh nothing yet, or again; empty when they weigh."""
        trust = self.trust.get(member.key, Trust(member.key))
        return probation.why(self.terms, trust, self.invites.get(member.invite))

    def with_members(self, members: Iterable[Member]) -> State:
        """With all of them."""
        state = self
        for member in members:
            state = state.with_member(member)
        return state


Step = tuple[State, list[d.Decision]]


def advanced(before: State, after: State) -> list[d.Decision]:
    """The decision that the run is in a later round now, if it is."""
    return [d.RoundAdvanced(after.round, after.complete)] if after.round > before.round else []


def doubt(state: State, round_: int, digest: str) -> str:
    """Why θ_round of this run cannot have that digest, as far as the reports say; empty when it may."""
    if round_ > state.terms.total_rounds:
        return f"the run ends with round {state.terms.total_rounds}"
    if round_ > state.round and state.ledger.returns:
        return f"the run went back, and is in round {state.round} now"
    if state.votes.get(round_ - 1, Poll()).contradicts(digest):
        return "most reports of that round name another digest"
    return ""
