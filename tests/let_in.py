"""Passes and words on leases as a coordinator signs them, and others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from swarm import lent
from swarm.identity import server_certificate
from swarm.passes import LIFETIME, signed
from swarm.proto import coordinator_pb2 as pb


def pass_for(authority: Path, peer_id: bytes, **facts: Any) -> bytes:
    """A volunteer's of the run "test", valid from now on unless the facts say something else; signed with the key in
    the folder, which is made there.
    """
    now = time.time()
    usual = {"run": "test", "role": "volunteer", "invite": "i", "since": now}
    usual |= {"issued_at": now, "expires_at": now + LIFETIME}
    return signed(pb.Pass(**{**usual, "peer_id": peer_id, **facts}), server_certificate(authority))


def word_on(authority: Path, member: str, lease_id: str, samples: int, **facts: Any) -> bytes:
    """On a lease of the member's, of so many samples, which weigh in full unless the facts say something else."""
    usual = {"run": "test", "share": 1.0, "range": pb.Range(start=0, stop=samples)}
    found = pb.Lent(**{**usual, "member": member, "lease_id": lease_id, **facts})
    return lent.signed(found, server_certificate(authority))
