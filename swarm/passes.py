"""A member's pass: the coordinator's signed word that it was let in, which it shows to the other members.

It is for one libp2p node, and short-lived; the coordinator renews it while the membership lasts. Members who cannot
hear the coordinator go on with those who were let in when they last could: a pass counts as long as it was valid then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from google.protobuf.message import DecodeError

from swarm.identity import ServerCertificate, certificate_of, framed, signed_by
from swarm.proto import coordinator_pb2 as pb

NODE = "node"  # in place of a role: the coordinator's own node, which takes no part in rounds
LIFETIME = 900.0  # seconds
RENEWAL = LIFETIME / 3  # seconds, after which there shall be another one
LARGEST = 1024  # bytes of one
_CLOCKS = 60.0  # seconds that the clocks of members may differ
_LOGIN, _PASS = b"garage-swarm login 1", b"garage-swarm pass 1"  # what is signed can be nothing else


class Role(StrEnum):
    """What an invite lets its holder do. All may take part and look; only a maintainer makes and revokes invites."""

    VOLUNTEER = "volunteer"
    VALIDATOR = "validator"
    MAINTAINER = "maintainer"


@dataclass(frozen=True)
class Authority:
    """The coordinator of a run, as its members know it."""

    run: str
    certificate: x509.Certificate

    @classmethod
    def of(cls, run: str, pem: bytes) -> Authority:
        """Raises ValueError when `pem` is no certificate."""
        return cls(run, certificate_of(pem))

    def vouches(self, words: bytes, signature: bytes, run: str) -> bool:
        """Whether it signed these words, which say that they are about `run`."""
        return run == self.run and signed_by(self.certificate, words, signature)


def answer(run: str, fingerprint: str, nonce: bytes, seat: int, session: str) -> bytes:
    """What a member signs with its key to log in, so that the signature is of use nowhere else.

    `fingerprint` is that of the coordinator's certificate.
    """
    return framed(_LOGIN, run.encode(), fingerprint.encode(), nonce, str(seat).encode(), session.encode())


def signed(pass_: pb.Pass, certificate: ServerCertificate) -> bytes:
    """A SignedPass as it travels."""
    words = pass_.SerializeToString(deterministic=True)
    return pb.SignedPass(**{"pass": words, "signature": certificate.sign(_PASS + words)}).SerializeToString()


def opened(data: bytes, authority: Authority) -> pb.Pass | None:
    """What a pass says, expired or not; None when the run's coordinator did not sign it."""
    try:
        outer = pb.SignedPass.FromString(data) if len(data) <= LARGEST else pb.SignedPass()
        words = bytes(getattr(outer, "pass"))
        found = pb.Pass.FromString(words)
    except DecodeError:
        return None
    return found if authority.vouches(_PASS + words, outer.signature, found.run) else None


def expired(pass_: pb.Pass, now: float, heard_at: float) -> bool:
    """Whether it counts no more for one who heard the coordinator last at `heard_at`. Unix seconds."""
    return min(now, heard_at) > pass_.expires_at + _CLOCKS
