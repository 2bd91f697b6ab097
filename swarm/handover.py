"""A hand-over: the signed word of a run's coordinator that the run is led from another address now.

It is signed with the key that every invite names, and numbered: the latest counts. As text it is one line of JSON.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from swarm import log, notes
from swarm.errors import HandoverError, InviteError
from swarm.identity import ServerCertificate, fingerprint, signed_by
from swarm.invite import Invite, address_of

logger = log.get(__name__)

NOTE = "handover"  # a peer's note of where its run is led now
_FORMAT = "garage-swarm-handover-1"
_LARGEST = 8192  # letters
_DISTRUST = "Nothing was followed. When a run has moved, its maintainer has a new invite for you."


@dataclass(frozen=True)
class Handover:
    """`run` is led at `host`, `port` from `at` (Unix seconds) on. Later ones have greater numbers. `round` and `digest`
    are those of the checkpoint that it had last.
    """

    run: str
    host: str
    port: int
    number: int
    round: int
    digest: str
    at: float
    format: str = _FORMAT

    def __str__(self) -> str:
        return f"the hand-over number {self.number}, to {self.address}"

    @property
    def address(self) -> str:
        return address_of(self.host, self.port)

    def moved(self, invite: Invite) -> Invite:
        """The same invite, with the address where the run is led now."""
        return replace(invite, host=self.host, port=self.port)


def signed(statement: Handover, certificate: ServerCertificate) -> str:
    """The hand-over as text, with the coordinator's certificate and its signature (ECDSA, SHA-256)."""
    der = x509.load_pem_x509_certificate(certificate.certificate_pem).public_bytes(Encoding.DER)
    said = asdict(statement)
    parts = {"statement": said, "certificate": _text(der), "signature": _text(certificate.sign(_bytes(said)))}
    return json.dumps(parts, sort_keys=True)


def verified(text: str, run: str, fingerprint_: str) -> Handover:
    """What the text says, when the coordinator with this fingerprint signed it for this run. Raises HandoverError."""
    try:
        if len(text) > _LARGEST:
            raise ValueError("it is too long")
        parts = json.loads(text)
        der = base64.b64decode(parts["certificate"], validate=True)
        found = Handover(**parts["statement"])
        Invite.parse(str(found.moved(Invite("h", 1, run, fingerprint_, "t"))))
        if (found.run, found.format, fingerprint(der)) != (run, _FORMAT, fingerprint_):
            raise ValueError("it is of another run or another coordinator")
        signature = base64.b64decode(parts["signature"], validate=True)
        if found.number < 1:
            raise ValueError("it has no such number")
        if not signed_by(x509.load_der_x509_certificate(der), _bytes(parts["statement"]), signature):
            raise ValueError("its signature is not the coordinator's")
    except (InviteError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HandoverError(f"A hand-over of the run {run} is forged or torn: {error}.", _DISTRUST) from error
    return found


def kept(path: Path, invite: Invite) -> str:
    """The text in the note `path` when it is of the invite's run and coordinator; else nothing, and the log says so."""
    if text := notes.kept(path):
        try:
            verified(text, invite.run, invite.fingerprint)
        except HandoverError as error:
            logger.warning("%s is not used: %s", path, error.what)
            text = ""
    return text


def later(found: Handover, known: Handover | None) -> bool:
    """Whether it is another one than the one that is known. Raises HandoverError when it is older."""
    if known is None or found.number > known.number:
        return True
    if found == known:
        return False
    raise HandoverError(f"{str(found).capitalize()}, is older than {known}, or disagrees with it.", _DISTRUST)


def _bytes(statement: dict[str, Any]) -> bytes:
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
