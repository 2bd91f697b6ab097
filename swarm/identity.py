"""Who a peer is, and how a coordinator proves that it is the one its invites name.

A peer is an Ed25519 key. A coordinator is a self-made TLS certificate whose fingerprint every invite carries,
so that no certificate authority is needed. Private keys are files of mode 0600; whichever process writes one
first wins.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from swarm.errors import CorruptError, UsageError, from_os_error
from swarm.tensorfile import sync

FILE = "identity.pem"  # of a volunteer's key
SERVER_NAME = "garage-swarm"  # the one name in every coordinator's certificate
SEATS = 64  # of one key
ECDSA_SHA256 = ECDSA(hashes.SHA256())
_YEARS_VALID = 20  # the invite's fingerprint is what counts; a run must not end because a date has passed


def member_id(public_key: bytes, seat: int = 0) -> str:
    """A member's id: the first 16 hex digits of the SHA-256 of its 32-byte public key, and its seat unless that is 0.

    Seats let several GPUs of one machine, which share a key, be members of their own. Raises UsageError.
    """
    if not 0 <= seat < SEATS:
        raise UsageError(
            f"A key has the seats 0 to {SEATS - 1}, one for each of its GPUs; there is no seat {seat}.",
            "Let the other GPUs join with a --data-dir of their own.",
        )
    return seat_of(hashlib.sha256(public_key).hexdigest()[:16], seat)


def seat_of(key: str, seat: int) -> str:
    """The id of the member in a seat of a key, which is named by its first seat's."""
    return f"{key}-{seat}" if seat else key


def key_of(member: str) -> str:
    """The id of the first seat of a member's key: what all its seats have in common."""
    return member.partition("-")[0]


def fingerprint(certificate_der: bytes) -> str:
    """A certificate's fingerprint: the first 32 hex digits of the SHA-256 of its DER bytes."""
    return hashlib.sha256(certificate_der).hexdigest()[:32]


@dataclass(frozen=True)
class Identity:
    """A peer's key pair."""

    private_key: Ed25519PrivateKey

    @classmethod
    def load_or_create(cls, folder: Path) -> Identity:
        """The identity kept in `folder`/identity.pem; made there when there is none.

        Raises CorruptError when the file holds no Ed25519 key, DiskError when it cannot be written.
        """
        path = folder / FILE
        key = _load_key(_kept(path, lambda: private_pem(Ed25519PrivateKey.generate())), path)
        if not isinstance(key, Ed25519PrivateKey):
            raise _no_key(path)
        return cls(key)

    @classmethod
    def of(cls, folder: Path, home: Path) -> Identity:
        """The identity of a peer's folder when it has one of its own, else the volunteer's, which is kept in `home` and
        serves all runs. Raises as `load_or_create`.
        """
        return cls.load_or_create(folder if (folder / FILE).exists() else home)

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """The identity of these 32 bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes that are the whole key."""
        return self.private_key.private_bytes_raw()

    def save(self, path: Path) -> None:
        """Write the key to a private file, which must not exist. Raises FileExistsError, OSError."""
        if not write_private(path, private_pem(self.private_key)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self.private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def member_id(self) -> str:
        return member_id(self.public_key)

    def sign(self, words: bytes) -> bytes:
        """64 bytes, for `signed_with`."""
        return self.private_key.sign(words)


def signed_with(public_key: bytes, words: bytes, signature: bytes) -> bool:
    """Whether the owner of a peer's public key signed these words; no bytes are too odd to ask."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, words)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class ServerCertificate:
    """A coordinator's TLS key and certificate (PEM), and the certificate's fingerprint."""

    key_pem: bytes
    certificate_pem: bytes
    fingerprint: str

    def sign(self, words: bytes) -> bytes:
        """With its key: ECDSA, SHA-256."""
        return self._key.sign(words, ECDSA_SHA256)

    @cached_property
    def _key(self) -> EllipticCurvePrivateKey:
        key = load_pem_private_key(self.key_pem, password=None)
        assert isinstance(key, EllipticCurvePrivateKey)
        return key


def framed(*parts: bytes) -> bytes:
    """Parts as one text to sign, each behind its length: other parts never make the same."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def signed_by(certificate: x509.Certificate, words: bytes, signature: bytes) -> bool:
    """Whether the owner of a coordinator's certificate signed these words."""
    try:
        public = certificate.public_key()
        if isinstance(public, EllipticCurvePublicKey):
            public.verify(signature, words, ECDSA_SHA256)
            return True
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):  # a certificate may name any kind of key
        return False
    return False


def certificate_of(pem: bytes) -> x509.Certificate:
    """The certificate that is written there. Raises ValueError when it is none."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except x509.InvalidVersion as error:  # alone among the errors of what is no certificate it is no ValueError
        raise ValueError(str(error)) from error


def server_certificate(folder: Path) -> ServerCertificate:
    """The certificate kept in `folder`/tls.pem (key, then certificate); made there when there is none.

    Raises CorruptError when the file is damaged, DiskError when it cannot be written.
    """
    path = folder / "tls.pem"
    pem = _kept(path, _new_server_pem)
    key = _load_key(pem, path)
    try:
        certificate = certificate_of(pem)
    except ValueError as error:
        raise _no_key(path) from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise _no_key(path)
    der = certificate.public_bytes(Encoding.DER)
    return ServerCertificate(private_pem(key), certificate.public_bytes(Encoding.PEM), fingerprint(der))


def _new_server_pem() -> bytes:
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))  # volunteers' clocks may be behind
        .not_valid_after(now + timedelta(days=365 * _YEARS_VALID))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return private_pem(key) + certificate.public_bytes(Encoding.PEM)


def private_pem(key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(pem: bytes, path: Path) -> object:
    try:
        return load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path) from error


def _no_key(path: Path) -> CorruptError:
    return CorruptError(
        f"{path} is damaged: it does not hold the key that it should.",
        "Restore it from a backup; or move it away, and a new identity is made. "
        "Credit and invites of the old one stay with the old one.",
    )


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """The bytes of `path`; when there is no such file, `make`s and keeps them."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(path, make())
        return path.read_bytes()
    except OSError as error:
        raise from_os_error(error, "keeping the private key") from error


def write_private(path: Path, content: bytes) -> bool:
    """Write a private file as a whole; when there is one already, that stays, and this says False."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
        sync(path.parent)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True
