"""Signatures of a bundle: signatures/KEYID.sig by OpenSSF model-signing, and KEYID.pub, the key that made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from swarm.bundle import keys
from swarm.bundle.folder import refused
from swarm.bundle.manifest import SIGNATURES
from swarm.errors import from_os_error
from swarm.extras import require
from swarm.texts import shown

if TYPE_CHECKING:
    from model_signing.manifest import Manifest

_MOST = 100  # signatures: each costs time


def hashed(folder: Path) -> Manifest:
    """The folder's files as model-signing hashes them. Raises UsageError without the extra `bundle`, DiskError."""
    require("bundle", "Signing or verifying a bundle", "model_signing", "OpenSSL")
    from swarm.bundle import openssf

    try:
        return openssf.hashed(folder)
    except OSError as error:
        raise from_os_error(error, "reading a bundle") from error


def digests(manifest: Manifest) -> dict[str, str]:
    """SHA-256 in hex by path."""
    from swarm.bundle import openssf

    return openssf.digests(manifest)


def sign(folder: Path, *who: keys.Signer) -> list[Path]:
    """Put their signatures into the bundle, in the place of earlier ones. Raises DiskError, UsageError as `hashed`."""
    manifest = hashed(folder)
    from swarm.bundle import openssf

    targets = [folder / SIGNATURES / f"{signer.public.fingerprint}.sig" for signer in who]
    try:
        (folder / SIGNATURES).mkdir(exist_ok=True)
        for signer, target in zip(who, targets, strict=True):
            openssf.sign(manifest, folder, signer.path, target)
            target.with_suffix(".pub").write_bytes(signer.public.pem)
    except OSError as error:
        raise from_os_error(error, "signing a bundle") from error
    return targets


def signers(folder: Path, manifest: Manifest, names: list[str]) -> frozenset[str]:
    """The fingerprints of those who signed what `manifest` says; `names` are the files in signatures/.

    Raises CorruptError for any file there that is not a sound signature or its key.
    """
    stems = sorted({Path(name).stem for name in names})
    if sorted(names) != sorted(f"{stem}.{end}" for stem in stems for end in ("sig", "pub")) or len(stems) > _MOST:
        odd = ", ".join(sorted(names)[:5])
        raise refused(f"{SIGNATURES}/ must hold KEYID.sig and KEYID.pub for each signer and nothing else; it has {odd}")
    return frozenset(_signer(folder, manifest, stem) for stem in stems)


def _signer(folder: Path, manifest: Manifest, stem: str) -> str:
    from swarm.bundle import openssf

    signature, key = folder / SIGNATURES / f"{stem}.sig", folder / SIGNATURES / f"{stem}.pub"
    try:
        with key.open("rb") as file:
            pem = file.read(keys.LARGEST)
        if keys.PublicKey(pem).fingerprint != stem:
            raise refused(f"{SIGNATURES}/{key.name} is not the key that its name says: it was altered")
        keys.public(pem, f"{SIGNATURES}/{key.name}")
        if why := openssf.wrong(manifest, folder, signature, key):
            raise refused(f"{SIGNATURES}/{signature.name} is no signature of this bundle: {shown(why)[:300]}")
    except OSError as error:
        raise from_os_error(error, "reading a signature") from error
    return stem
