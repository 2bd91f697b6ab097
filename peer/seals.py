"""Who sent an update, and for what: signed by its member, and looked at before anything of the update is taken. Pure.

Whose key it is a `Keyring` says: in a run, the pass that the coordinator signed for the member's node
(`peer.exchange.roll.Passes`). Without a coordinator a key proves by itself whose it is, because a member's id is its
fingerprint; that the member was let in it does not show (`Fingerprints`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import DecodeError

from peer import leases
from peer.leases import MOST, Use
from swarm import lent
from swarm.identity import Identity, framed, member_id, signed_with
from swarm.proto import coordinator_pb2
from swarm.proto import exchange_pb2 as pb

LARGEST = 256 + MOST * (lent.LARGEST + 16)  # bytes of a seal, with the words on leases that it shows
_NONCE = 16  # bytes
_UPDATE, _SHARE = b"garage-swarm update 2", b"garage-swarm share 1"  # what is signed can be nothing else

# Sign for this member: (public key of 32 bytes, signature). Called from threads; may raise SwarmError.
Signer = Callable[[bytes], tuple[bytes, bytes]]


def signer_of(identity: Identity) -> Signer:
    """Sign in this process."""
    return lambda words: (identity.public_key, identity.sign(words))


@dataclass(frozen=True)
class Claim:
    """What a member says of its update of `round`, made at the θ of this `digest`. `payload` is a SHA-256, hex."""

    round: int
    digest: str
    payload: str
    samples: int
    member: str
    peer_id: bytes
    client_mode: bool = False


class Keyring(Protocol):
    """Which keys speak for which members, and what the coordinator lent them; `lends` says whether there is one."""

    lends: bool

    def objection(self, claim: Claim, public_key: bytes) -> str:
        """Why this key does not speak for the claim's member; empty when it does."""

    def lent(self, word: bytes, /) -> coordinator_pb2.Lent | None:
        """What a SignedLent says; None when the run's coordinator did not sign it."""


class Fingerprints:
    """A key speaks for the members that are named by its fingerprint, whoever they are.

    So nobody speaks for somebody else. That a member was let in by a coordinator, or lent samples, it does not show.
    """

    lends = False

    def objection(self, claim: Claim, public_key: bytes) -> str:
        own, member = member_id(public_key), claim.member
        return "" if member == own or member.startswith(f"{own}-") else f"its key is not that of {member}"

    def lent(self, _word: bytes, /) -> coordinator_pb2.Lent | None:
        return None


class Notary:
    """Seals this member's updates and looks at those of others. `most`: samples that one may be of in a round."""

    def __init__(self, run: str, sign: Signer, most: int) -> None:
        self.keyring: Keyring = Fingerprints()
        self._run = run
        self._sign = sign
        self._most = most

    def seal(self, claim: Claim, uses: Sequence[Use] = ()) -> bytes:
        """A Seal for the claim, whose samples are of these leases, as it travels. Raises SwarmError when it cannot be
        signed now.
        """
        nonce = secrets.token_bytes(_NONCE)
        public_key, signature = self._sign(self._words(claim, nonce, uses))
        shown = [pb.Use(lent=use.lent, samples=use.samples) for use in uses]
        return pb.Seal(public_key=public_key, nonce=nonce, signature=signature, uses=shown).SerializeToString()

    def objection(self, claim: Claim, seal: bytes) -> str:
        """Why the update is refused; empty when it is not."""
        found = _seal(seal)
        if found is None or len(found.nonce) != _NONCE or len(found.public_key) != 32:
            return "it is not signed"
        if claim.samples > self._most:
            return f"it says that it is of {claim.samples} samples; a member makes {self._most} in a round at most"
        if why := self.keyring.objection(claim, found.public_key):
            return why
        uses = _uses(found)
        if not signed_with(found.public_key, self._words(claim, found.nonce, uses), found.signature):
            return "its signature is not of this round, state, payload and sample count"
        if not self.keyring.lends:
            return ""
        return leases.objection(claim.member, claim.samples, uses, self.keyring.lent)

    def share(self, seal: bytes) -> float:
        """What each sample of the update weighs, 0 to 1, by the leases that the seal shows."""
        return leases.share(uses_in(seal), self.keyring.lent) if self.keyring.lends else 1.0

    def sign_share(self, group_id: bytes, sha256: str) -> bytes:
        """A reducer's word for what it made. Raises SwarmError."""
        return self._sign(_share(group_id, sha256))[1]

    def made(self, group_id: bytes, sha256: str, signature: bytes, seal: bytes) -> bool:
        """Whether it is the word of the member that sent `seal`."""
        found = _seal(seal)
        return found is not None and signed_with(found.public_key, _share(group_id, sha256), signature)

    def _words(self, claim: Claim, nonce: bytes, uses: Sequence[Use]) -> bytes:
        said = [self._run, str(claim.round), claim.digest, claim.payload, str(claim.samples), claim.member]
        parts = [_UPDATE, *(word.encode() for word in said), claim.peer_id, bytes([claim.client_mode]), nonce]
        return framed(*parts, *(part for use in uses for part in (use.lent, str(use.samples).encode())))


def nonce_of(seal: bytes) -> bytes:
    """What makes a seal another one than all before; nothing when it is none."""
    found = _seal(seal)
    return found.nonce if found else b""


def uses_in(seal: bytes) -> tuple[Use, ...]:
    """The leases that it shows; none when it is no seal."""
    found = _seal(seal)
    return _uses(found) if found else ()


def _uses(seal: pb.Seal) -> tuple[Use, ...]:
    return tuple(Use(use.lent, use.samples) for use in seal.uses)


def _share(group_id: bytes, sha256: str) -> bytes:
    return _SHARE + len(group_id).to_bytes(4, "big") + group_id + sha256.encode()


def _seal(data: bytes) -> pb.Seal | None:
    if len(data) > LARGEST:  # of words that are empty protobuf makes 24 times as much
        return None
    try:
        found = pb.Seal.FromString(data)
    except DecodeError:
        return None
    return found if len(found.uses) <= MOST else None
