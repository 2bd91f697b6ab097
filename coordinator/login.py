"""Logging in: who joins shows that it has the key that it names, and gets the coordinator's words for the others:
passes (swarm.passes), and what it was lent (swarm.lent).
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable

from coordinator.ledger import Lease
from coordinator.records import IssuedInvite, Member
from coordinator.translate import range_message
from swarm import lent, passes
from swarm.errors import LoginError, UsageError
from swarm.identity import ServerCertificate, signed_with
from swarm.proto import coordinator_pb2 as pb

LIFE = 60.0  # seconds that a challenge may be answered
MOST = 4096  # open challenges; of more, the oldest are forgotten
_NONCE_BYTES = 32
_KEY_BYTES = 32
_LONGEST_PEER_ID = 64  # bytes; libp2p's have at most 42
_SAME_VERSION = "Use the same version of garage-swarm."


class Login:
    """Threads of the gRPC server call in at once. `clock` gives Unix seconds."""

    def __init__(self, run: str, certificate: ServerCertificate, clock: Callable[[], float] = time.time) -> None:
        self._run = run
        self._certificate = certificate
        self._authority = passes.Authority.of(run, certificate.certificate_pem)
        self._clock = clock
        self._open: dict[bytes, tuple[bytes, float]] = {}  # by nonce: for which key, and since when; the oldest first
        self._lock = threading.Lock()

    def challenge(self, public_key: bytes) -> bytes:
        """What the owner of the key shall sign, once. Raises UsageError."""
        if len(public_key) != _KEY_BYTES:
            raise UsageError("A member's public key has 32 bytes.", _SAME_VERSION)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        with self._lock:
            while len(self._open) >= MOST:
                del self._open[next(iter(self._open))]
            self._open[nonce] = (public_key, self._clock())
        return nonce

    def require(self, request: pb.JoinRequest | pb.KeyProof, session: str) -> None:
        """Raises LoginError unless the one who joins, or shows its key for another reason, answers a challenge of its
        own, in time and for the first time.
        """
        seat = request.seat if isinstance(request, pb.JoinRequest) else 0
        with self._lock:
            key, since = self._open.pop(request.nonce, (b"", -math.inf))
        words = passes.answer(self._run, self._certificate.fingerprint, request.nonce, seat, session)
        fresh = key == request.public_key and 0 <= self._clock() - since <= LIFE
        if not (fresh and signed_with(request.public_key, words, request.signature)):
            raise LoginError(
                "Who joins must show that it has the key that it names: this answer to the challenge is none, "
                f"or came after more than {LIFE:.0f} s.",
                _SAME_VERSION,
            )

    def issue(
        self, member: Member, peer_id: bytes, invite: IssuedInvite, probation: bool = False, earlier: bytes = b""
    ) -> bytes:
        """The member's pass for the node `peer_id`, which ends with its invite. It goes on where the node's `earlier`
        one has not ended; else the node is new, and the youngest of the run's. Raises UsageError.
        """
        if not 0 < len(peer_id) <= _LONGEST_PEER_ID:
            raise UsageError("A pass is for one libp2p node, named by its peer id.", _SAME_VERSION)
        now = self._clock()
        found = pb.Pass(
            run=self._run,
            member=member.id,
            public_key=member.public_key,
            peer_id=peer_id,
            role=invite.role,
            invite=invite.id,
            issued_at=now,
            expires_at=min(now + passes.LIFETIME, invite.expires_at or math.inf),
            probation=probation,
            since=self._since(member, peer_id, earlier, now),
        )
        return passes.signed(found, self._certificate)

    def _since(self, member: Member, peer_id: bytes, earlier: bytes, now: float) -> float:
        """Said by the pass itself, so that it outlives this process, and a move of the run."""
        before = passes.opened(earlier, self._authority)
        same = before is not None and (before.member, before.peer_id) == (member.id, peer_id)
        return before.since if before and same and not passes.expired(before, now, now) else now

    def lend(self, lease: Lease, share: float) -> bytes:
        """The word on a lease, each of whose samples weighs so much."""
        span = range_message(lease.range)
        found = pb.Lent(run=self._run, member=lease.member, lease_id=lease.id, range=span, share=share)
        return lent.signed(found, self._certificate)
