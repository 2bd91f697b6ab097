"""Passes as a coordinator signs them, and others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from swarm.identity import server_certificate
from swarm.passes import LIFETIME, signed
from swarm.proto import coordinator_pb2 as pb


def pass_for(authority: Path, peer_id: bytes, **facts: Any) -> bytes:
    """A volunteer's of the run "test", valid from now on unless the facts say something else; signed with the key in
    the folder, which is made there.
    """
    now = time.time()
    usual = {"run": "test", "role": "volunteer", "invite": "i", "issued_at": now, "expires_at": now + LIFETIME}
    return signed(pb.Pass(**{**usual, "peer_id": peer_id, **facts}), server_certificate(authority))
