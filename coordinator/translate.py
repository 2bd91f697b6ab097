"""Between protobuf messages and the coordinator's records. Values only, no decisions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from google.protobuf.message import Message

from coordinator import events as e
from coordinator.ledger import Claim, Entry, Lease, Recalled
from coordinator.records import (
    Ban,
    Checkpoint,
    Evaluation,
    IssuedInvite,
    Member,
    Metrics,
    Pulse,
    Quarantine,
    Receipt,
    RoundReport,
    Standing,
    TextSample,
    Trust,
)
from coordinator.rounds import RoundSummary
from coordinator.spotchecks import Subject
from coordinator.watches import SpotCheck
from swarm.errors import UsageError
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import LAST, Range, merge
from swarm.tensorfile import is_sha256
from swarm.texts import MOST, PROMPT_BYTES, TEXT_BYTES, fits, line, lines

LONGEST_WHY = 200  # letters
_METRIC = re.compile(r"[\w.-]{1,64}")  # as the run spec names them
_HEAVIEST = 1e6  # members that count in full
_OUTCOMES = {"passed": True, "failed": False, "given up": None}
MOST_LENT = 1 << 32  # positions at once
_CLAIMS = 2048  # parts of leases in the reports of one call
_PIECES = 1024  # of one lease that are held: some are dropped of a long one, and come between
_SAME_VERSION = "Use the same version of garage-swarm."
_ADDRESSES = 32  # of one member: everybody who joins is told them


def require_bounded(message: Message) -> None:
    """Raises UsageError for a number that no table can hold: no peer counts that far."""
    for _, value in message.ListFields():
        for one in [value] if isinstance(value, int | float | str | bytes | Message) else value:
            if isinstance(one, Message):
                require_bounded(one)
            elif isinstance(one, int) and one > LAST:
                raise UsageError(f"{one} is no number that a peer sends.", _SAME_VERSION)


def invite_message(invite: IssuedInvite, members: int) -> pb.InviteRecord:
    return pb.InviteRecord(
        id=invite.id,
        role=invite.role,
        made_at=invite.made_at,
        expires_at=invite.expires_at,
        revoked_at=invite.revoked_at,
        note=invite.note,
        members=members,
        slots=invite.slots,
        weight=invite.weight,
    )


def invite_limits(message: pb.MakeInviteRequest) -> tuple[int, float]:
    """The invite's slots and weight, 0 for no limit. Raises UsageError."""
    if not 0.0 <= message.weight <= _HEAVIEST:
        raise UsageError(f"An invite cannot weigh {message.weight:g}.", f"Take 0 (no limit) to {_HEAVIEST:g}.")
    return message.slots, message.weight


def trust_message(trust: Trust, evidence: float) -> pb.TrustRecord:
    """`evidence`: what is left of it now."""
    return pb.TrustRecord(
        key=trust.key,
        checks=trust.made,
        clean=trust.clean,
        evidence=evidence,
        condemned=trust.condemned,
        why=trust.why,
        trusted_by=trust.trusted_by,
    )


def ban_message(ban: Ban) -> pb.BanRecord:
    return pb.BanRecord(key=ban.key, name=ban.name, why=ban.why, banned_at=ban.banned_at)


def peer_message(member: Member, invite: IssuedInvite | None, ban: Ban | None, standing: Standing) -> pb.PeerRecord:
    return pb.PeerRecord(
        member_id=member.id,
        name=member.name,
        live=member.live,
        why=member.left,
        invite=member.invite,
        invite_note=invite.note if invite else "",
        role=invite.role if invite else "",
        since=member.since,
        last_seen=member.last_seen,
        rounds=standing.rounds,
        counted_samples=max(0, member.counted),
        rejected_samples=member.rejected,
        rejected_why=standing.rejected_why,
        banned_at=ban.banned_at if ban else 0.0,
        banned_why=ban.why if ban else "",
    )


def pulse(message: pb.HeartbeatRequest) -> Pulse:
    return Pulse(
        phase=line(message.phase, 32),
        why=line(message.why, LONGEST_WHY),
        round=message.round,
        samples_in_round=message.samples_in_round,
        samples_per_second=message.samples_per_second,
        loss=message.loss,
        maddrs=tuple(line(address, 300) for address in message.maddrs[:_ADDRESSES]),
        device=line(message.device, 100),
        digest=message.digest[:64],
        quarantine=_quarantine(message.quarantine) if message.HasField("quarantine") else None,
    )


def _quarantine(message: pb.Quarantine) -> Quarantine:
    return Quarantine(line(message.fault, 32), message.round, message.in_a_row, line(message.why, LONGEST_WHY))


def round_report(member: str, message: pb.RoundReport) -> RoundReport:
    """`key` is the same whenever the member sends the same report again."""
    body = message.SerializeToString(deterministic=True)
    counted = _claims(message.counted)
    return RoundReport(
        key=hashlib.sha256(member.encode() + b"\0" + body).hexdigest(),
        round=message.round,
        counted=counted,
        dropped=_claims(message.dropped),
        dropped_why=line(message.dropped_why, LONGEST_WHY),
        lineage=message.lineage,
        metrics=Metrics(
            digest=message.digest if is_sha256(message.digest) else "",
            swarm_samples=message.swarm_samples,
            global_samples=message.global_samples,
            group_size=message.group_size,
            own_samples=sum(len(claim.range) for claim in counted),
            loss=message.loss,
            compute_seconds=message.compute_seconds,
            exchange_seconds=message.exchange_seconds,
            bytes_sent=message.bytes_sent,
            bytes_received=message.bytes_received,
            finished_at=message.finished_at,
        ),
    )


def round_reports(member: str, messages: Sequence[pb.RoundReport]) -> tuple[RoundReport, ...]:
    """Raises UsageError when they are of more parts of leases than a peer's ever are."""
    reports = tuple(round_report(member, message) for message in messages)
    if (parts := sum(len(report.counted) + len(report.dropped) for report in reports)) > _CLAIMS:
        raise UsageError(f"Reports of {parts} parts of leases are refused: at most {_CLAIMS} are taken.", _SAME_VERSION)
    return reports


def _claims(messages: Iterable[pb.LeasedRange]) -> tuple[Claim, ...]:
    """A peer names each batch; side by side they are one part of their lease."""
    parts = dict[str, list[Range]]()
    for message in messages:
        parts.setdefault(message.lease_id, []).append(_range(message.range))
    return tuple(Claim(lease, part) for lease, found in parts.items() for part in merge(found))


def offered(member: str, message: pb.Checkpoint, now: float) -> Checkpoint:
    """Raises UsageError."""
    if not is_sha256(message.digest):
        raise UsageError("A checkpoint needs the state's digest, 64 hexadecimal digits.", _SAME_VERSION)
    return Checkpoint(
        round=message.round,
        digest=message.digest,
        sha256=message.sha256,
        size=message.size,
        global_samples=message.global_samples,
        created_at=now,
        uploaded_by=member,
    )


def checkpoint_message(checkpoint: Checkpoint, measured: Evaluation | None) -> pb.Checkpoint:
    """`measured` is the evaluation of the checkpoint's state, if there is one."""
    return pb.Checkpoint(
        round=checkpoint.round,
        digest=checkpoint.digest,
        sha256=checkpoint.sha256,
        size=checkpoint.size,
        global_samples=checkpoint.global_samples,
        created_at=checkpoint.created_at,
        uploaded_by=checkpoint.uploaded_by,
        heldout_loss=measured.heldout_loss if measured else 0.0,
        has_heldout_loss=measured is not None,
        metrics=measured.metrics if measured else {},
        evaluated_by=measured.evaluated_by if measured else "",
        approved_by=checkpoint.approved_by,
        approved_why=checkpoint.approved_why,
    )


def evaluation(member: str, message: pb.Evaluation) -> Evaluation:
    """Raises UsageError."""
    named = all(map(_METRIC.fullmatch, message.metrics))
    if not is_sha256(message.digest) or not named or len(message.metrics) > 64:
        raise UsageError(
            "An evaluation needs the state's digest (64 hex digits), and at most 64 metrics with plain names.",
            "Give the metrics names of at most 64 letters, digits, dots and hyphens, or give fewer of them.",
        )
    samples, measured = tuple(map(_sample, _few(message.samples))), dict(message.metrics)
    return Evaluation(message.round, message.digest, message.heldout_loss, measured, member, samples)


def _few(samples: Sequence[pb.TextSample]) -> Sequence[pb.TextSample]:
    """Raises UsageError for more or longer ones than a peer sends."""
    short = all(fits(item.prompt, PROMPT_BYTES) and fits(item.text, TEXT_BYTES) for item in samples)
    if len(samples) > MOST or not short:
        raise UsageError(
            f"An evaluation has at most {MOST} texts of {TEXT_BYTES} bytes, after prompts of {PROMPT_BYTES}.",
            "Send fewer, or cut them.",
        )
    return samples


def _sample(message: pb.TextSample) -> TextSample:
    return TextSample(lines(message.prompt), lines(message.text))


def evaluation_message(found: Evaluation, told: bool = False) -> pb.Evaluation:
    """With its texts, when they shall be `told`: they are long, and heartbeats are many."""
    texts = [pb.TextSample(prompt=sample.prompt, text=sample.text) for sample in found.samples if told]
    return pb.Evaluation(
        samples=texts,
        round=found.round,
        digest=found.digest,
        heldout_loss=found.heldout_loss,
        metrics=found.metrics,
        evaluated_by=found.evaluated_by,
    )


def check_message(check: SpotCheck | None) -> pb.SpotCheck | None:
    return pb.SpotCheck(id=check.id, member_id=check.member, since=check.since) if check else None


def subject_message(found: Subject) -> pb.GetCheckResponse:
    own, control = map(range_message, found.own), map(range_message, found.control)
    return pb.GetCheckResponse(own=own, control=control, why=found.why)


def checked(message: pb.ReportCheckRequest, session: str) -> e.Checked:
    """Raises UsageError for an outcome that there is not."""
    if message.outcome not in _OUTCOMES:
        raise UsageError(f"A spot check cannot end with {message.outcome!r}.", f"Right are: {', '.join(_OUTCOMES)}.")
    passed, why = _OUTCOMES[message.outcome], line(message.why, 300)
    return e.Checked(message.member_id, message.check, message.round, passed, why, session)


def range_message(value: Range) -> pb.Range:
    return pb.Range(start=value.start, stop=value.stop)


def recalled(message: pb.RecalledLease) -> Recalled:
    """Raises UsageError when it is held in more pieces than a peer's ever is."""
    held = merge(map(_range, message.held))
    if len(held) > _PIECES:
        raise UsageError(f"A lease in {len(held)} pieces is refused: at most {_PIECES} are taken.", _SAME_VERSION)
    return Recalled(message.lease_id, _range(message.range), tuple(held))


def _range(message: pb.Range) -> Range:
    """Empty when it ends before it starts. Nobody was ever lent positions beyond the last one, nor so many at once that
    a report of them could not be counted.
    """
    start = min(message.start, LAST)
    return Range(start, min(max(start, message.stop), start + MOST_LENT, LAST))


def receipt_message(receipt: Receipt) -> pb.Receipt:
    return pb.Receipt(round=receipt.round, range=range_message(receipt.range), counted=receipt.counted, why=receipt.why)


def round_receipt(run: str, member: str, report: RoundReport, parts: Sequence[Receipt], now: float) -> pb.RoundReceipt:
    """The coordinator's word on one report, to be signed."""
    return pb.RoundReceipt(
        run=run,
        member_id=member,
        round=report.round,
        digest=report.metrics.digest,
        lineage=report.lineage,
        parts=map(receipt_message, parts),
        issued_at=now,
    )


def entry_message(entry: Entry) -> pb.LedgerEntry:
    return pb.LedgerEntry(
        range=range_message(entry.range),
        state=entry.state,
        round=entry.round,
        member_id=entry.member,
        why=entry.why,
        lease_id=entry.lease,
    )


def leased_message(part: Range, lease: Lease, round_: int) -> pb.LedgerEntry:
    """A part of an open lease as an entry of the ledger; `round_` is the run's."""
    return pb.LedgerEntry(
        range=range_message(part), state="leased", round=round_, member_id=lease.member, lease_id=lease.id
    )


def member_message(member: Member, pending: int, share: float) -> pb.Member:
    said = member.pulse
    return pb.Member(
        member_id=member.id,
        name=member.name,
        live=member.live,
        phase=said.phase if member.live else "gone",
        why=said.why if member.live else member.left,
        round=said.round,
        samples_in_round=said.samples_in_round,
        counted_samples=max(0, member.counted),
        pending_samples=pending,
        rejected_samples=member.rejected,
        samples_per_second=said.samples_per_second if member.live else 0.0,
        loss=said.loss,
        last_seen=member.last_seen,
        credit=member.credit,
        device=said.device,
        share=share,
    )


def round_message(found: RoundSummary) -> pb.Round:
    return pb.Round(
        round=found.round,
        samples=found.samples,
        members=found.members,
        loss=found.loss,
        digest=found.digest,
        agreed=found.agreed,
        compute_seconds=found.compute_seconds,
        exchange_seconds=found.exchange_seconds,
        finished_at=found.finished_at,
    )
