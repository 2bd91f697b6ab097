"""Keys of those who release: ECDSA P-256 in PEM files, as OpenSSF model-signing takes them.

A key's fingerprint is the beginning of the SHA-256 of its public PEM, which model-signing writes into signatures, too.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from swarm.errors import CorruptError, NotFoundError, UsageError, from_os_error
from swarm.identity import ECDSA_SHA256, private_pem, write_private

FINGERPRINT = re.compile(r"[0-9a-f]{32}")
LARGEST = 4096  # bytes of a public key's file


@dataclass(frozen=True)
class PublicKey:
    """One signer, as others know them."""

    pem: bytes

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.pem).hexdigest()[:32]

    def signed(self, words: bytes, signature: bytes) -> bool:
        """Whether its owner signed these words; no bytes are too odd to ask."""
        try:
            _public(self.pem).verify(signature, words, ECDSA_SHA256)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Signer:
    """A private key and the file that holds it."""

    path: Path
    private: EllipticCurvePrivateKey

    @property
    def public(self) -> PublicKey:
        form = PublicFormat.SubjectPublicKeyInfo
        return PublicKey(self.private.public_key().public_bytes(Encoding.PEM, form))

    def sign(self, words: bytes) -> bytes:
        """For `PublicKey.signed`."""
        return self.private.sign(words, ECDSA_SHA256)


def new(path: Path) -> Signer:
    """Make a key: `path` is its private file, with mode 0600; the public one lies beside it, as .pub.

    Raises UsageError when there is one already, DiskError.
    """
    key = generate_private_key(SECP256R1())
    signer = Signer(path, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not write_private(path, private_pem(key)):
            raise UsageError(f"{path} is there already; nothing was changed.", "Name another file with --out.")
        path.with_suffix(".pub").write_bytes(signer.public.pem)
    except OSError as error:
        raise from_os_error(error, "keeping the signer's key") from error
    return signer


def load(path: Path) -> Signer:
    """The private key in the file. Raises NotFoundError, CorruptError, UsageError when others may read it."""
    try:
        mode, pem = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no key {path}.", "`swarm signer new` makes one.") from error
    except OSError as error:
        raise from_os_error(error, "reading the signer's key") from error
    if mode & 0o077:
        raise UsageError(f"Others may read the private key {path}.", f"First: chmod 600 {path}")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(str(path)) from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise _no_key(str(path))
    return Signer(path, key)


def public(pem: bytes, origin: str) -> PublicKey:
    """The key in `pem`, which must be just as model-signing writes it. Raises CorruptError that names `origin`."""
    try:
        key = _public(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(origin) from error
    if key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) != pem:
        raise _no_key(origin)
    return PublicKey(pem)


def fingerprint_of(text: str) -> str:
    """The fingerprint that `text` is, or that of the public key in the file which it names.

    Raises NotFoundError, CorruptError.
    """
    if FINGERPRINT.fullmatch(text):
        return text
    try:
        with Path(text).open("rb") as file:
            return public(file.read(LARGEST), text).fingerprint
    except FileNotFoundError as error:
        remedy = "Right would be 32 hex digits, or the file of a public key (.pub)."
        raise NotFoundError(f"{text} is neither a fingerprint nor a file.", remedy) from error
    except OSError as error:
        raise from_os_error(error, "reading a public key") from error


def _public(pem: bytes) -> EllipticCurvePublicKey:
    key = load_pem_public_key(pem)
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("another kind of key")
    return key


def _no_key(origin: str) -> CorruptError:
    return CorruptError(f"{origin} does not hold a signer's key (ECDSA P-256, PEM).", "Ask its owner for it again.")
