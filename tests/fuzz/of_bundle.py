"""What comes with a bundle of a stranger's: manifest, public key, signature, and a notice of its recall."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from model_signing.manifest import Manifest

from swarm.bundle import keys, manifest, openssf, recall
from swarm.bundle.verify import Examined
from tests import bundles
from tests.fuzz.of_files import MEMORY, SMALL, scratch, written
from tests.fuzz.run import Decoder


@cache
def _released() -> tuple[Path, keys.Signer, Examined, Manifest]:
    folder = scratch() / "released"
    shutil.rmtree(folder, ignore_errors=True)
    anna = bundles.signer(folder)
    found = bundles.released(folder, anna)
    return folder / "bundle", anna, found, openssf.hashed(folder / "bundle")


def _manifest(data: bytes) -> None:
    found = manifest.parse(data)
    assert manifest.parse(found.to_bytes()) == found
    assert all((scratch() / part.path).resolve().is_relative_to(scratch().resolve()) for part in found.parts)


def _signature(data: bytes) -> None:
    """Nothing but what was signed is a signature."""
    folder, anna, _, hashed = _released()
    right = (folder / manifest.SIGNATURES / f"{anna.public.fingerprint}.sig").read_bytes()
    assert bool(openssf.wrong(hashed, folder, written(data), anna.path.with_suffix(".pub"))) == (data != right)


def _key(data: bytes) -> None:
    keys.public(data, "it").signed(b"words", b"signature")


def _notice(data: bytes) -> None:
    _, anna, found, _ = _released()
    asked = recall.Asked(found.digest, "", frozenset({anna.public.fingerprint}))
    assert recall.believed(data, asked, "it") == _said(found)


def _said(found: Examined) -> recall.Notice:
    return recall.Notice(bundle=found.digest, name="my-run", version="1.0", reason="it lies", at="now")


def decoders() -> list[Decoder]:
    folder, anna, found, _ = _released()
    signature = (folder / manifest.SIGNATURES / f"{anna.public.fingerprint}.sig").read_bytes()
    return [
        Decoder("bundle: manifest", _manifest, (found.bundle.to_bytes(),), SMALL, MEMORY),
        Decoder("bundle: signature", _signature, (signature,), SMALL, MEMORY),
        Decoder("bundle: public key", _key, (anna.public.pem,), keys.LARGEST, MEMORY),
        Decoder("bundle: notice of recall", _notice, (recall.signed(_said(found), anna),), SMALL, MEMORY),
    ]
