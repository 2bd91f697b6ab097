"""Whether a bundle is what those who are trusted released: asked before a byte of it is loaded as a model.

`examined` reads every byte once and believes nobody; `judge` decides, pure; `verified` does all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from swarm import log, paths
from swarm.bundle import manifest, recall, signatures, trust
from swarm.bundle.folder import files, kind_of, refused, require_bundle
from swarm.bundle.manifest import FILE, SIGNATURES, Bundle
from swarm.errors import OtherRunError, UntrustedError, from_os_error

logger = log.get(__name__)


@dataclass(frozen=True)
class Examined:
    """A whole bundle, and the fingerprints of those who signed it; whether they are to be trusted, it does not say.

    `digest` is the SHA-256 of bundle.json: it names this bundle and no other.
    """

    bundle: Bundle
    digest: str
    signers: frozenset[str]


def verified(
    folder: Path,
    signers: Iterable[str] = (),
    run: str = "",
    home: Path | None = None,
    say: Callable[[str], None] = logger.warning,
    now: float | None = None,
) -> Bundle:
    """The manifest of the bundle in `folder`, when nothing speaks against it.

    `signers`: fingerprints or files of public keys to trust; those that the user has agreed to before (below `home`,
    $SWARM_HOME) are trusted for their run. `run`: the fingerprint of the run that it must be of. `say` is told when it
    could not be asked whether the bundle was recalled. `now`: Unix seconds.

    Raises CorruptError, UntrustedError, OtherRunError, RecalledError, each with what is wrong by name; UsageError
    without the extra `bundle`; NotFoundError, DiskError.
    """
    found = examined(folder)
    accept(found, signers, run, home, say, now)
    return found.bundle


def accept(
    found: Examined,
    signers: Iterable[str] = (),
    run: str = "",
    home: Path | None = None,
    say: Callable[[str], None] = logger.warning,
    now: float | None = None,
) -> None:
    """The second half of `verified`: whether those who signed are trusted, and did not recall it."""
    home = home or paths.home()
    trusted = trust.trusted(home, found.bundle, signers)
    judge(found, trusted, run)
    known = trusted.signers | set(found.bundle.signing.signers)
    asked = recall.Asked(found.digest, found.bundle.recall, known)
    recall.check(asked, home, time.time() if now is None else now, say)


def examined(folder: Path) -> Examined:
    """Read the whole bundle: that no file is altered, missing, or too many, and who signed. Raises as `verified`."""
    require_bundle(folder)
    there = files(folder)
    bundle = manifest.read(folder)
    _compare(bundle, folder, there)
    hashed = signatures.hashed(folder)
    read = signatures.digests(hashed)
    for part in bundle.parts:
        if read.get(part.path) != part.sha256:
            raise refused(f"{part.path} is not the file that {FILE} lists: one of the two was altered")
    signed = [path.partition("/")[2] for path in there if path.startswith(f"{SIGNATURES}/")]
    return Examined(bundle, read[FILE], signatures.signers(folder, hashed, signed))


def judge(found: Examined, trusted: trust.Trust, run: str = "") -> None:
    """Whether it is of that run, and the signatures suffice (`doubt`). Pure. Raises OtherRunError, UntrustedError."""
    bundle = found.bundle
    if run and bundle.lineage.fingerprint != run:
        raise OtherRunError(
            f"The bundle {bundle.name} {bundle.version} is of the run {bundle.lineage.fingerprint} "
            f"({bundle.lineage.run}), not of {run}. Nothing of it was loaded.",
            "Get the bundle of the run that you mean.",
        )
    if why := doubt(found, trusted):
        raise _untrusted(bundle, why, trusted)


def doubt(found: Examined, trusted: trust.Trust) -> str:
    """Why its signatures do not suffice; empty when they do. Pure.

    Somebody who is trusted must have signed, as many of them as the user wants, and as many of those whom the bundle
    itself names as must.
    """
    signing, agreed = found.bundle.signing, found.signers & trusted.signers
    if not found.signers:
        return "it is signed by nobody"
    if not agreed:
        return f"it is signed by {', '.join(sorted(found.signers))}, none of whom is trusted here"
    if len(agreed) < trusted.needed:
        return f"{len(agreed)} of the {trusted.needed} trusted signers that it needs signed"
    listed = found.signers & set(signing.signers)
    if signing.signers and len(listed) < signing.needed:
        return f"{len(listed)} of its {len(signing.signers)} signers signed, and {signing.needed} must"
    return ""


def _compare(bundle: Bundle, folder: Path, there: list[str]) -> None:
    """Raises CorruptError for the first file that is missing, too many, or has another size."""
    listed = {part.path: part.size for part in bundle.parts}
    for path in there:
        if path in listed and kind_of(path) is None:
            raise refused(f"{path} is no file that a bundle has a place for: loading it could run a program")
        if path not in listed and path != FILE and not path.startswith(f"{SIGNATURES}/"):
            raise refused(f"{path} is a file too many: {FILE} does not list it")
    for path, size in listed.items():
        if path not in there:
            raise refused(f"{path} is missing, which {FILE} lists")
        try:
            found = (folder / path).stat().st_size
        except OSError as error:
            raise from_os_error(error, "reading a bundle") from error
        if found != size:
            raise refused(f"{path} has {found} bytes and {FILE} says {size}: one of the two was altered")


def _untrusted(bundle: Bundle, why: str, trusted: trust.Trust) -> UntrustedError:
    whom = ", ".join(sorted(trusted.signers)) or "nobody yet"
    return UntrustedError(
        f"The bundle {bundle.name} {bundle.version} is refused: {why}. Trusted for this run: {whom}. "
        "Nothing of it was loaded.",
        "Ask the run's maintainers, on a way that you trust, for the fingerprints of their keys; then name them with "
        "--signer, or let them be remembered with `swarm verify --trust`.",
    )
