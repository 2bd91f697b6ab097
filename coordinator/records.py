"""What the coordinator knows: members, rounds, checkpoints. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.ledger import Claim, Entry
from swarm.identity import key_of
from swarm.passes import Role
from swarm.ranges import Range


@dataclass(frozen=True)
class Terms:
    """What the rules take from the run spec and the data. Times in seconds."""

    run: str
    total_rounds: int
    target_batch_size: int
    epoch_samples: int
    keep_checkpoints: int = 3
    heartbeat_seconds: float = 5.0
    lease_seconds: float = 60.0
    probation_checks: int = 0

    @property
    def patience_seconds(self) -> float:
        """How long a silent member stays a member: three missed heartbeats."""
        return 3 * self.heartbeat_seconds


@dataclass(frozen=True)
class IssuedInvite:
    """An invite as the coordinator keeps it: its token's SHA-256 (hex), not the token. Unix seconds; 0 is never.

    At most `slots` members are live with it at a time, and together they weigh `weight` at most; 0: without a limit.
    """

    token_sha256: str
    role: Role
    made_at: float
    expires_at: float = 0.0
    revoked_at: float = 0.0
    note: str = ""
    slots: int = 0
    weight: float = 0.0

    @property
    def id(self) -> str:
        """How people name it."""
        return self.token_sha256[:8]

    def __str__(self) -> str:
        return f"Invite {self.id}{f' ({self.note})' if self.note else ''}"


@dataclass(frozen=True)
class Ban:
    """A key is let in no more, in none of its seats. `key` is the id of its first seat, `name` that of the member that
    was named, `why` the maintainer's reason, which the member is told. Unix seconds.
    """

    key: str
    name: str
    why: str
    banned_at: float


@dataclass(frozen=True)
class Trust:
    """What spot checks have said of a key, in all its seats (`coordinator.trust`). `key` is the id of its first seat.

    `evidence` is the log of how much likelier a cheater would have given these answers than an honest member, as of
    `at` (Unix seconds, the last check); `clean` counts the checks that it passed in a row, `made` all of them.
    `proven`: it passed enough in a row, and was not condemned since. `why` is the last fault that was found, or the
    maintainer's reason; `trusted_by` is the id of the maintainer's invite that trusted it, empty for none.
    """

    key: str
    evidence: float = 0.0
    clean: int = 0
    made: int = 0
    condemned: int = 0
    proven: bool = False
    at: float = 0.0
    why: str = ""
    trusted_by: str = ""


@dataclass(frozen=True)
class Quarantine:
    """A member's word that it dropped what it had computed on θ_round, and why. `fault` is one of those in
    `swarm.faults`; `in_a_row` counts it and those before, with hardly a round between them.
    """

    fault: str
    round: int
    in_a_row: int
    why: str


@dataclass(frozen=True)
class Pulse:
    """What a member last said of itself, for others to see. Of this, its speed decides how much it is lent, and its
    quarantine, with those of others, whether the run goes back. `digest` is that of θ_round as it holds it.
    """

    phase: str = "starting"
    why: str = ""
    round: int = 0
    samples_in_round: int = 0
    samples_per_second: float = 0.0
    loss: float = 0.0
    maddrs: tuple[str, ...] = ()
    device: str = ""
    digest: str = ""
    quarantine: Quarantine | None = None


@dataclass(frozen=True)
class Spoke:
    """How often a member gave a sign of life since the run is in that round, the last time `at` (Unix seconds)."""

    round: int = 0
    times: int = 0
    at: float = 0.0

    def again(self, round_: int, now: float, apart: float) -> Spoke:
        """After one more, so many seconds after the last one at least: who hurries does not say it more often."""
        if round_ != self.round:
            return Spoke(round_, 1, now)
        return Spoke(round_, self.times + 1, now) if now - self.at >= apart else self


@dataclass(frozen=True)
class Absence:
    """A member said goodbye to the others in a round, and was away between these moments (Unix seconds)."""

    round: int
    since: float
    until: float


@dataclass(frozen=True)
class Member:
    """A seat of a volunteer's key, present (`live`) or gone. `credit` is its name in the model card; empty for none.

    `heard` is false for a member read from the tables until its first sign of life. `holds` is the round of the
    state that its process is known to hold, 0 when it is gone. Leases numbered below `first_lease` belong to an
    earlier process of the same key: its heartbeats do not extend them. `invite` is the id of the one it joined with;
    `session` names its present process: nobody else may speak for it. `lineage` is that of the state which it holds.
    """

    id: str
    name: str
    public_key: bytes
    version: str
    last_seen: float
    credit: str = ""
    live: bool = True
    heard: bool = True
    holds: int = 0
    first_lease: int = 0
    pulse: Pulse = Pulse()
    counted: int = 0
    rejected: int = 0
    invite: str = ""
    session: str = ""
    lineage: int = 0
    since: float = 0.0  # Unix seconds, when it joined first; 0 before that was kept
    left: str = ""  # why it is gone, as far as this process of the coordinator knows
    away: Absence | None = None  # before it came back, until its present process was in a round
    spoke: Spoke = Spoke()  # as far as this process of the coordinator knows
    paid: int = -1  # in which round the run was when something counted for it last, as far as this process knows

    @property
    def key(self) -> str:
        """The id of its key's first seat."""
        return key_of(self.id)

    @property
    def furthest(self) -> int:
        """The latest round whose state it is known to hold or says that it works on."""
        return max(self.holds, self.pulse.round)


@dataclass(frozen=True)
class Metrics:
    """One member's account of one finished round."""

    digest: str
    swarm_samples: int
    global_samples: int
    group_size: int
    own_samples: int
    loss: float
    compute_seconds: float
    exchange_seconds: float
    bytes_sent: int
    bytes_received: int
    finished_at: float


@dataclass(frozen=True)
class RoundReport:
    """What a member reports of a round of the `lineage`; `key` is a fingerprint of the member and the whole report."""

    key: str
    round: int
    metrics: Metrics
    counted: tuple[Claim, ...] = ()
    dropped: tuple[Claim, ...] = ()
    dropped_why: str = ""
    lineage: int = 0


@dataclass(frozen=True)
class Filed:
    """That a report was filed: all that is kept of it but what it counted."""

    key: str
    member: str
    round: int


@dataclass(frozen=True)
class Standing:
    """In how many rounds a member's samples counted, and why some were rejected the last time."""

    rounds: int = 0
    rejected_why: str = ""


@dataclass(frozen=True)
class Receipt:
    """The coordinator's word on one range of a report."""

    round: int
    range: Range
    counted: bool
    why: str

    @staticmethod
    def of(entry: Entry) -> Receipt:
        return Receipt(entry.round, entry.range, entry.state == "counted", entry.why)


@dataclass(frozen=True)
class Checkpoint:
    """A state file: θ_round, its state digest, and the SHA-256 and size (bytes) of the file.

    `approved_by` is the id of the maintainer's invite that stands for it, empty for none; `approved_why` says why.
    """

    round: int
    digest: str
    sha256: str
    size: int
    global_samples: int
    created_at: float = 0.0
    uploaded_by: str = ""
    approved_by: str = ""
    approved_why: str = ""


@dataclass(frozen=True)
class Doubt:
    """A key's word that the held-out loss of θ_round is no number. `invite` is the id of its member's."""

    round: int
    invite: str


@dataclass(frozen=True)
class RollBack:
    """The run went back by rule, for the `number`th time, and so began the lineage of that number: θ_place was the
    first state in doubt, the checkpoint of round `back_to` the newest that was not. It is the `again`th time at that
    place. `halted` says that it was stopped instead; `told_by` names the keys whose words on held-out losses were why,
    if they were.
    """

    number: int
    place: int
    back_to: int
    again: int
    why: str
    halted: bool = False
    told_by: str = ""


@dataclass(frozen=True)
class TextSample:
    """How one member says that a model goes on from a prompt. What a text holds nobody vouches for."""

    prompt: str
    text: str


@dataclass(frozen=True)
class Evaluation:
    """What one member measured on θ_round: nats per token on the held-out samples, metrics by name, and texts."""

    round: int
    digest: str
    heldout_loss: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    evaluated_by: str = ""
    samples: tuple[TextSample, ...] = ()
