"""What a tick decided, and why. The store writes decisions; `str(decision)` is the sentence people read.

A decision whose sentence is empty is routine: it is stored, but not shown among the last decisions.
"""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.kinds import CoordinatorBack
from coordinator.ledger import Entry, Lease, Return
from coordinator.records import (
    Ban,
    Checkpoint,
    Evaluation,
    IssuedInvite,
    Member,
    Quarantine,
    Receipt,
    RollBack,
    RoundReport,
    Trust,
)
from coordinator.rounds import RoundDecision
from coordinator.steering import SteeringDecision
from coordinator.trialrecords import TrialDecision
from coordinator.uploads import UploadDecision
from coordinator.watches import SpotChecked
from swarm.errors import RefusedError
from swarm.ranges import total


@dataclass(frozen=True)
class Refused:
    """The caller is refused; nothing changed."""

    what: str
    remedy: str
    code: str = RefusedError.code

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class InviteMade:
    invite: IssuedInvite

    def __str__(self) -> str:
        return f"{self.invite} was made, for a {self.invite.role}."


@dataclass(frozen=True)
class InviteRevoked:
    invite: IssuedInvite

    def __str__(self) -> str:
        return f"{self.invite} was revoked."


@dataclass(frozen=True)
class MemberBanned:
    ban: Ban

    def __str__(self) -> str:
        return f"{self.ban.name} ({self.ban.key}) was banned: {self.ban.why}."


@dataclass(frozen=True)
class MemberUnbanned:
    ban: Ban

    def __str__(self) -> str:
        return f"{self.ban.name} ({self.ban.key}) is banned no more."


@dataclass(frozen=True)
class TrustChanged:
    """`says` is empty for a check that changed nothing for the member."""

    trust: Trust
    says: str = ""

    def __str__(self) -> str:
        return self.says


@dataclass(frozen=True)
class MemberJoined:
    """`why` says why it got another seat than it asked for; empty when it did not."""

    member: Member
    again: bool
    why: str = ""

    def __str__(self) -> str:
        how = f"{'joined again' if self.again else 'joined'}{self.why and f': {self.why}'}"
        return f"{self.member.name} ({self.member.id}) {how}."


@dataclass(frozen=True)
class MemberLeft:
    member: Member
    why: str
    silent: bool = False  # it was heard no more

    def __str__(self) -> str:
        return f"{self.member.name} ({self.member.id}) left: {self.why}."


@dataclass(frozen=True)
class LeaseGranted:
    """`share`: what each of its samples weighs, 0 to 1."""

    lease: Lease
    share: float = 1.0

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class LeasesRecalled:
    """Leases that a restored copy did not know, and what became of the rest of what the member named; the leases of its
    present process begin with `first_lease`.
    """

    member: str
    first_lease: int
    leases: tuple[Lease, ...]
    entries: tuple[Entry, ...]

    @property
    def samples(self) -> int:
        return sum(total(lease.left) for lease in self.leases)

    def __str__(self) -> str:
        return f"{self.member} named {self.samples} samples that it had been lent after the restored copy was made."


@dataclass(frozen=True)
class LeaseDenied:
    """There is nothing to lease now; the member asks again later."""

    why: str

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class LeaseExpired:
    lease: Lease
    entries: tuple[Entry, ...]
    why: str

    def __str__(self) -> str:
        count = total(entry.range for entry in self.entries)
        return f"Lease {self.lease.id} of {self.lease.member} expired, {count} samples are free again: {self.why}."


@dataclass(frozen=True)
class ReportFiled:
    """A report seen for the first time, with what became of every range it names.

    `voted` says that it belongs to the run's history, so that its digest is a word on the round, `agreed` that this is
    the run's state already; `holds` is the round of the state that the member's present process holds now.
    `back`: with it that process takes part, and the absence before it is over.
    """

    member: str
    report: RoundReport
    entries: tuple[Entry, ...]
    voted: bool
    holds: int
    agreed: bool = False
    back: bool = False

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        return tuple(Receipt.of(entry) for entry in self.entries)

    def __str__(self) -> str:
        rejected = [entry for entry in self.entries if entry.state == "rejected"]
        if not rejected:
            return ""
        reasons = "; ".join(dict.fromkeys(entry.why for entry in rejected))
        count = total(entry.range for entry in rejected)
        return f"Round {self.report.round}: {count} samples of {self.member} rejected: {reasons}."


@dataclass(frozen=True)
class ReportKnown:
    """A report that was answered before gets the same receipts."""

    receipts: tuple[Receipt, ...]

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class LeaseUsed:
    """Every position of the lease is counted or dropped."""

    lease_id: str

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class RoundGranted:
    """These members make the round, and no others."""

    round: int
    members: frozenset[str]

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class RoundDenied:
    round: int
    why: str

    def __str__(self) -> str:
        return f"Round {self.round} was not granted to a part of the swarm: {self.why}."


@dataclass(frozen=True)
class RoundAdvanced:
    round: int
    last: bool  # all rounds of the run are done

    def __str__(self) -> str:
        return f"The run is finished: {self.round} rounds are done." if self.last else ""


@dataclass(frozen=True)
class CheckpointOffered:
    """`why` is empty when the file is wanted."""

    checkpoint: Checkpoint
    why: str

    def __str__(self) -> str:
        return f"Checkpoint of round {self.checkpoint.round} not wanted: {self.why}." if self.why else ""


@dataclass(frozen=True)
class CheckpointAccepted:
    checkpoint: Checkpoint

    def __str__(self) -> str:
        by = f" from {self.checkpoint.uploaded_by}" if self.checkpoint.uploaded_by else ""
        return f"Checkpoint of round {self.checkpoint.round} accepted{by}."


@dataclass(frozen=True)
class CheckpointDropped:
    """The file is no part of the run any more; its bytes are deleted once this is on disk."""

    checkpoint: Checkpoint
    why: str

    def __str__(self) -> str:
        return f"Checkpoint of round {self.checkpoint.round} dropped: {self.why}."


@dataclass(frozen=True)
class EvaluationAccepted:
    evaluation: Evaluation

    def __str__(self) -> str:
        found = self.evaluation
        more = "".join(f", {name} {value:.4g}" for name, value in sorted(found.metrics.items()))
        return f"Round {found.round}: held-out loss {found.heldout_loss:.3f}{more}, measured by {found.evaluated_by}."


@dataclass(frozen=True)
class EvaluationKnown:
    """The same values are there already."""

    evaluation: Evaluation

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class EvaluationDenied:
    evaluation: Evaluation
    why: str

    def __str__(self) -> str:
        found = self.evaluation
        return f"The evaluation of round {found.round} by {found.evaluated_by} is not used: {self.why}."


@dataclass(frozen=True)
class EvaluationDropped:
    """It was used until now."""

    evaluation: Evaluation
    why: str

    def __str__(self) -> str:
        found = self.evaluation
        return f"The evaluation of round {found.round} by {found.evaluated_by} is used no more: {self.why}."


@dataclass(frozen=True)
class WentBack:
    """The ledger is again what it was before `back.round`; `undone` had been counted since."""

    back: Return
    from_round: int
    undone: tuple[Entry, ...]
    because: str

    @property
    def why(self) -> str:
        return f"undone: the run went back to round {self.back.round}"

    def __str__(self) -> str:
        count = total(entry.range for entry in self.undone)
        return (
            f"The run went back from round {self.from_round} to the state of round {self.back.round}: {self.because}; "
            f"{count} samples are free again."
        )


@dataclass(frozen=True)
class Quarantined:
    """A member dropped what it had computed."""

    member: Member
    quarantine: Quarantine

    def __str__(self) -> str:
        found = self.quarantine
        row = f", {found.in_a_row} times in a row now" if found.in_a_row > 1 else ""
        return f"{self.member.name} ({self.member.id}) quarantined itself in round {found.round}{row}: {found.why}."


@dataclass(frozen=True)
class RolledBack:
    """A new lineage began: members load the state to which the run went back. Or the run was stopped."""

    rollback: RollBack

    def __str__(self) -> str:
        return f"The run was stopped: {self.rollback.why}." if self.rollback.halted else ""


Decision = (
    Refused
    | InviteMade
    | InviteRevoked
    | MemberBanned
    | MemberUnbanned
    | TrustChanged
    | MemberJoined
    | MemberLeft
    | LeaseGranted
    | LeasesRecalled
    | LeaseDenied
    | LeaseExpired
    | LeaseUsed
    | ReportFiled
    | ReportKnown
    | RoundGranted
    | RoundDenied
    | RoundAdvanced
    | RoundDecision
    | CheckpointOffered
    | CheckpointAccepted
    | CheckpointDropped
    | EvaluationAccepted
    | EvaluationKnown
    | EvaluationDenied
    | EvaluationDropped
    | SpotChecked
    | SteeringDecision
    | TrialDecision
    | UploadDecision
    | WentBack
    | Quarantined
    | RolledBack
    | CoordinatorBack
)
