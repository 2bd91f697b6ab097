"""Between protobuf messages and the coordinator's records. Values only, no decisions."""

from __future__ import annotations

import hashlib

from coordinator.ledger import Claim, Entry
from coordinator.records import Checkpoint, Member, Metrics, Pulse, Receipt, RoundReport
from coordinator.rounds import RoundSummary
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Range


def pulse(message: pb.HeartbeatRequest) -> Pulse:
    return Pulse(
        phase=message.phase,
        why=message.why,
        round=message.round,
        samples_in_round=message.samples_in_round,
        samples_per_second=message.samples_per_second,
        loss=message.loss,
        maddrs=tuple(message.maddrs),
    )


def round_report(member: str, message: pb.RoundReport) -> RoundReport:
    """`key` is the same whenever the member sends the same report again."""
    body = message.SerializeToString(deterministic=True)
    counted = tuple(map(_claim, message.counted))
    return RoundReport(
        key=hashlib.sha256(member.encode() + b"\0" + body).hexdigest(),
        round=message.round,
        counted=counted,
        dropped=tuple(map(_claim, message.dropped)),
        dropped_why=message.dropped_why,
        metrics=Metrics(
            digest=message.digest,
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


def _claim(message: pb.LeasedRange) -> Claim:
    start = message.range.start
    return Claim(message.lease_id, Range(start, max(start, message.range.stop)))


def offered(member: str, message: pb.Checkpoint, now: float) -> Checkpoint:
    return Checkpoint(
        round=message.round,
        digest=message.digest,
        sha256=message.sha256,
        size=message.size,
        global_samples=message.global_samples,
        created_at=now,
        uploaded_by=member,
        heldout_loss=message.heldout_loss if message.has_heldout_loss else None,
    )


def checkpoint_message(checkpoint: Checkpoint) -> pb.Checkpoint:
    return pb.Checkpoint(
        round=checkpoint.round,
        digest=checkpoint.digest,
        sha256=checkpoint.sha256,
        size=checkpoint.size,
        global_samples=checkpoint.global_samples,
        created_at=checkpoint.created_at,
        uploaded_by=checkpoint.uploaded_by,
        heldout_loss=checkpoint.heldout_loss or 0.0,
        has_heldout_loss=checkpoint.heldout_loss is not None,
    )


def range_message(value: Range) -> pb.Range:
    return pb.Range(start=value.start, stop=value.stop)


def receipt_message(receipt: Receipt) -> pb.Receipt:
    return pb.Receipt(round=receipt.round, range=range_message(receipt.range), counted=receipt.counted, why=receipt.why)


def entry_message(entry: Entry) -> pb.LedgerEntry:
    return pb.LedgerEntry(
        range=range_message(entry.range), state=entry.state, round=entry.round, member_id=entry.member, why=entry.why
    )


def member_message(member: Member, pending: int) -> pb.Member:
    said = member.pulse
    return pb.Member(
        member_id=member.id,
        name=member.name,
        live=member.live,
        phase=said.phase if member.live else "gone",
        why=said.why if member.live else "",
        round=said.round,
        samples_in_round=said.samples_in_round,
        counted_samples=max(0, member.counted),
        pending_samples=pending,
        rejected_samples=member.rejected,
        samples_per_second=said.samples_per_second if member.live else 0.0,
        loss=said.loss,
        last_seen=member.last_seen,
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
