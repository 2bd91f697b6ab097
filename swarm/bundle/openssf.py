"""OpenSSF model-signing: hashing a folder once, signing it, and looking at signatures. Works offline: with plain keys
the library asks nobody.

Source: https://github.com/sigstore/model-transparency. Only what the library calls stable is used of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from model_signing import hashing, signing, verifying
from model_signing.manifest import Manifest
from sigstore_models.bundle.v1 import Bundle as SignatureFile

from swarm.bundle.manifest import SIGNATURES

LARGEST = 16 << 20  # bytes of a signature: it lists every file
_KIND = "application/vnd.dev.sigstore.bundle.v0.3+json"
_ODD = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, InvalidSignature)


class _Hashed(hashing.Config):
    """A folder that was hashed already: several signatures are checked with one reading of it, and none of them can
    say which files do not count.
    """

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._manifest = manifest

    def hash(self, model_path: hashing.PathLike, *, files_to_hash: Iterable[Any] | None = None) -> Manifest:
        del model_path, files_to_hash
        return self._manifest


def hashed(folder: Path) -> Manifest:
    """Every file of the folder but the signatures, read once, in threads. Raises OSError."""
    return hashing.Config().set_ignored_paths(paths=[SIGNATURES], ignore_git_paths=False).hash(folder)


def digests(manifest: Manifest) -> dict[str, str]:
    """SHA-256 in hex by path."""
    return {item.identifier: item.digest.digest_hex for item in manifest.resource_descriptors()}


def sign(manifest: Manifest, folder: Path, key: Path, target: Path) -> None:
    """Sign the hashed folder with the private key in the file `key`; the signature goes to `target`. Raises OSError."""
    config = signing.Config().use_elliptic_key_signer(private_key=key)
    config.set_hashing_config(_Hashed(manifest)).sign(folder, target)


def wrong(manifest: Manifest, folder: Path, signature: Path, key: Path) -> str:
    """What is wrong with a signature by the public key in the file `key`; empty when nothing is. Raises OSError."""
    try:
        _require_plain(signature)
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
        config.set_hashing_config(_Hashed(manifest)).verify(folder, signature)
    except _ODD as error:
        return str(error) or "it was altered, or another key made it"
    return ""


def _require_plain(signature: Path) -> None:
    """A signature's file may hold nothing but the signature: JSON and base64 write the same in many ways, a key's id
    and timestamps are not signed, and the library minds none of that. Raises ValueError.
    """
    with signature.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST or _plain(SignatureFile.from_json(data)).to_json().encode() != data:
        raise ValueError("it was altered: model-signing writes it otherwise")


def _plain(found: SignatureFile) -> SignatureFile:
    """With what is signed, the key's digest, which is compared, and nothing else. Raises as odd files do (`_ODD`)."""
    envelope = found.dsse_envelope
    if envelope is None:
        raise ValueError("it is no signature of model-signing's")
    nothing = dict.fromkeys(("certificate", "x509_certificate_chain", "timestamp_verification_data"))
    material = found.verification_material.model_copy(update={**nothing, "tlog_entries": []})
    signed = envelope.model_copy(update={"signatures": [envelope.signatures[0].model_copy(update={"keyid": ""})]})
    return found.model_copy(update={"media_type": _KIND, "verification_material": material, "dsse_envelope": signed})
