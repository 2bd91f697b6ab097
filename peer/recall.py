"""What a coordinator that was restored from a copy must hear of this peer's leases. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from peer.outbox import AGAIN, LEASE, REPORT, VOID, Item
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Range, RangeSet


def recalled(items: Iterable[Item]) -> list[pb.RecalledLease]:
    """Of the remembered and the unsent: leases that are worked on are held but for what was dropped, of the others only
    what was reported as counted.
    """
    leases: dict[str, tuple[str, Range]] = {}
    counted: defaultdict[str, list[Range]] = defaultdict(list)
    dropped: defaultdict[str, RangeSet] = defaultdict(RangeSet)
    for item in items:
        if item.kind in (LEASE, VOID):
            lent = pb.LeasedRange.FromString(item.body)
            leases[lent.lease_id] = (item.kind, _range(lent))
        elif item.kind in (REPORT, AGAIN):
            report = pb.RoundReport.FromString(item.body)
            for part in report.counted:
                counted[part.lease_id].append(_range(part))
            for part in report.dropped:
                dropped[part.lease_id].add(_range(part))
    return [
        _message(id_, whole, dropped[id_].missing(whole) if kind == LEASE else counted[id_])
        for id_, (kind, whole) in leases.items()
    ]


def _range(part: pb.LeasedRange) -> Range:
    return Range(part.range.start, part.range.stop)


def _message(id_: str, whole: Range, held: Iterable[Range]) -> pb.RecalledLease:
    spans = [pb.Range(start=part.start, stop=part.stop) for part in held]
    return pb.RecalledLease(lease_id=id_, range=pb.Range(start=whole.start, stop=whole.stop), held=spans)
