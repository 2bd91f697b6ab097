"""The coordinator's signed word on a lease, which its member shows to others with the updates that it makes of it.

So others know of how many samples an update may be, and what these weigh, without asking the coordinator, also while it
is away. The word counts as long as its lease is not used up: who uses samples twice is found by the round's leader. It
is signed with the key that moves along with the run, so it holds after a hand-over, too.
"""

from __future__ import annotations

import math

from google.protobuf.message import DecodeError

from swarm.identity import ServerCertificate
from swarm.passes import Authority
from swarm.proto import coordinator_pb2 as pb

LARGEST = 256  # bytes of one
_LENT = b"garage-swarm lease 1"  # what is signed can be nothing else


def signed(lent: pb.Lent, certificate: ServerCertificate) -> bytes:
    """A SignedLent as it travels."""
    words = lent.SerializeToString(deterministic=True)
    return pb.SignedLent(lent=words, signature=certificate.sign(_LENT + words)).SerializeToString()


def opened(data: bytes, authority: Authority) -> pb.Lent | None:
    """What the word says; None when the run's coordinator did not sign it."""
    try:
        outer = pb.SignedLent.FromString(data) if len(data) <= LARGEST else pb.SignedLent()
        found = pb.Lent.FromString(outer.lent)
    except DecodeError:
        return None
    return found if authority.vouches(_LENT + outer.lent, outer.signature, found.run) and _sound(found) else None


def _sound(lent: pb.Lent) -> bool:
    return lent.range.start < lent.range.stop and math.isfinite(lent.share) and 0.0 <= lent.share <= 1.0
