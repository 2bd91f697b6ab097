"""What a coordinator that was restored from a copy must hear of this peer's leases. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from peer.outbox import AGAIN, LEASE, REPORT, VOID, Item
from swarm.proto import coordinator_pb2 as pb


def recalled(items: Iterable[Item]) -> list[pb.RecalledLease]:
    """Of the remembered and the unsent: leases that are worked on are held as a whole; of the others what was reported
    as counted.
    """
    leases: dict[str, pb.RecalledLease] = {}
    counted: defaultdict[str, list[pb.Range]] = defaultdict(list)
    for item in items:
        if item.kind in (LEASE, VOID):
            lent = pb.LeasedRange.FromString(item.body)
            held = [lent.range] if item.kind == LEASE else []
            leases[lent.lease_id] = pb.RecalledLease(lease_id=lent.lease_id, range=lent.range, held=held)
        elif item.kind in (REPORT, AGAIN):
            for part in pb.RoundReport.FromString(item.body).counted:
                counted[part.lease_id].append(part.range)
    for id_, lease in leases.items():
        if not lease.held:
            lease.held.extend(counted[id_])
    return [lease for lease in leases.values() if lease.held]
