"""What happens to a run: what members ask and say, and what befalls the coordinator itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.ledger import Recalled
from coordinator.records import Checkpoint, Evaluation, IssuedInvite, Pulse, Receipt, RoundReport
from coordinator.steering import Course
from coordinator.trialrecords import Campaign
from swarm.trials.answers import Item


@dataclass(frozen=True)
class Join:
    """`round` is that of the state, of the `lineage`, which the joining process already holds; 0 for a fresh start.

    `session` names the joining process, `replaces` the one that had the same folder before and ended; `left_in` is the
    round in which that one said goodbye to the other members, 0 when it did not.
    """

    member: str
    public_key: bytes
    name: str
    version: str
    round: int = 0
    credit: str = ""
    invite: str = ""
    session: str = ""
    replaces: str = ""
    lineage: int = 0
    left_in: int = 0


@dataclass(frozen=True)
class MakeInvite:
    invite: IssuedInvite


@dataclass(frozen=True)
class RevokeInvite:
    """An invite that there is, by its id; its members end with it."""

    id: str


@dataclass(frozen=True)
class Ban:
    """A key, by the id of its first seat; `name` is that of the member that was meant."""

    key: str
    name: str
    why: str


@dataclass(frozen=True)
class Unban:
    """A key that is banned."""

    key: str


@dataclass(frozen=True)
class TrustKey:
    """A maintainer, with the invite of the id `by`, trusts a key or, with an empty `by`, no more; `name` is for
    people.
    """

    key: str
    name: str
    by: str
    why: str = ""


@dataclass(frozen=True)
class Steer:
    """A maintainer, with the invite of the id `by`, lets the run pause, go on, or end."""

    course: Course
    why: str
    by: str


@dataclass(frozen=True)
class ApproveCheckpoint:
    """A maintainer, with the invite of the id `by`, stands for the checkpoint of a round, or, with an empty `by`, no
    more. `why` is for people.
    """

    round: int
    by: str
    why: str = ""


@dataclass(frozen=True)
class Heartbeat:
    """`lineage` is that of the run as the member knows it."""

    member: str
    pulse: Pulse
    session: str = ""
    lineage: int = 0


@dataclass(frozen=True)
class Leave:
    member: str
    reason: str
    session: str = ""


@dataclass(frozen=True)
class TakeLease:
    member: str
    samples: int
    session: str = ""


@dataclass(frozen=True)
class AskRound:
    """May `members` make `round`, who are not more than half of those who made the last one?

    `blind`: they do not know who made it.
    """

    member: str
    round: int
    members: frozenset[str]
    session: str = ""
    blind: bool = False


@dataclass(frozen=True)
class Report:
    """`known` holds the receipts of those reports that were answered before, by key."""

    member: str
    reports: tuple[RoundReport, ...]
    known: Mapping[str, tuple[Receipt, ...]] = field(default_factory=dict)
    session: str = ""


@dataclass(frozen=True)
class Recall:
    """What the member was lent, to a coordinator that was restored from a copy."""

    member: str
    leases: tuple[Recalled, ...]
    session: str = ""


@dataclass(frozen=True)
class OfferCheckpoint:
    member: str
    checkpoint: Checkpoint
    session: str = ""


@dataclass(frozen=True)
class Evaluated:
    member: str
    evaluation: Evaluation
    session: str = ""


@dataclass(frozen=True)
class Checked:
    """How the spot check `check` ended, which was about a round; `passed` is None when nothing can be said."""

    member: str
    check: str
    round: int
    passed: bool | None
    why: str
    session: str = ""


@dataclass(frozen=True)
class StartCampaign:
    """A maintainer's; the campaign's id, number and start are given to it."""

    campaign: Campaign


@dataclass(frozen=True)
class StopCampaign:
    id: str
    why: str


@dataclass(frozen=True)
class TakeUnit:
    """Who has the key, and calls with the invite of that id, would compute a unit."""

    key: str
    invite: str


@dataclass(frozen=True)
class AnswerUnit:
    key: str
    invite: str
    campaign: str
    unit: int
    items: tuple[Item, ...]


@dataclass(frozen=True)
class ReportFinding:
    """Somebody with the invite of that id found something; its reproduction is told from `disclose` on (Unix
    seconds).
    """

    title: str
    severity: str
    category: str
    reproduction: str
    disclose: float
    invite: str


@dataclass(frozen=True)
class ResolveFinding:
    """A maintainer, with the invite of the id `by`, says how it is with a finding."""

    id: str
    state: str
    note: str
    by: str


@dataclass(frozen=True)
class CheckpointUploaded:
    """The offered bytes are all here; `digest` is the state digest computed from them."""

    sha256: str
    digest: str


@dataclass(frozen=True)
class Resumed:
    """The coordinator was away (stopped, or its machine asleep): silence in that time is nobody's fault.

    Restored from a copy it lends nothing for a while: first members say what the copy lacks. `seconds` is how long it
    stood still, or by how much its clock was set; None when nobody needs to hear of it.
    """

    restored: bool = False
    seconds: float | None = None


# What only a live member may say, and of its processes only the one that `session` names.
MemberEvent = Heartbeat | Leave | TakeLease | AskRound | Report | Recall | OfferCheckpoint | Evaluated | Checked
MaintainerEvent = MakeInvite | RevokeInvite | Ban | Unban | TrustKey | Steer | ApproveCheckpoint
TrialEvent = StartCampaign | StopCampaign | TakeUnit | AnswerUnit | ReportFinding | ResolveFinding
Event = Join | MemberEvent | MaintainerEvent | TrialEvent | CheckpointUploaded | Resumed
