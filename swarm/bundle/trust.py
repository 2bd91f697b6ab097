"""Whose signatures count: whom the user names, and whom the user agreed to for a run, as ssh remembers hosts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from swarm.bundle.keys import fingerprint_of
from swarm.bundle.manifest import Bundle, Fingerprint, Signing
from swarm.errors import CorruptError, from_os_error
from swarm.sections import Section
from swarm.tensorfile import atomic_write

FILE = "signers.json"


@dataclass(frozen=True)
class Trust:
    """The fingerprints of trusted signers, and how many of them must have signed."""

    signers: frozenset[str]
    needed: int = 1


class _Known(Section):
    """The file: for each run, by its fingerprint, whom the user agreed to."""

    runs: dict[Fingerprint, Signing] = Field(default_factory=dict)


def trusted(home: Path, bundle: Bundle, named: Iterable[str]) -> Trust:
    """Those whom the user names now; else those that are remembered for the bundle's run.

    Raises NotFoundError, CorruptError.
    """
    if chosen := frozenset(map(fingerprint_of, named)):
        return Trust(chosen)
    known = remembered(home, bundle)
    return Trust(frozenset(known.signers), known.needed) if known else Trust(frozenset())


def proposed(bundle: Bundle, signers: frozenset[str]) -> Signing:
    """Whom a user would trust for the bundle's run: those whom it names, of whom as many must sign as it says; when it
    names none, those who signed it.
    """
    return bundle.signing if bundle.signing.signers else Signing(signers=tuple(sorted(signers)))


def remembered(home: Path, bundle: Bundle) -> Signing | None:
    """Whom the user agreed to trust for the bundle's run. Raises CorruptError, DiskError."""
    return _read(home).runs.get(bundle.lineage.fingerprint)


def remember(home: Path, bundle: Bundle, agreed: Signing) -> None:
    """From now on trust them for the bundle's run, and no longer those before. Raises CorruptError, DiskError."""
    _write(home, _read(home).runs | {bundle.lineage.fingerprint: agreed})


def everybody(home: Path) -> dict[str, Signing]:
    """Whom the user agreed to trust, for each run by its fingerprint. Raises CorruptError, DiskError."""
    return _read(home).runs


def without(runs: Mapping[str, Signing], signer: str) -> dict[str, Signing]:
    """The same trust without that signer. Pure.

    Where fewer are left than must have signed, nobody is trusted for that run any more: to be content with fewer
    signatures is for the user to say.
    """
    left = {run: signing.model_copy(update={"signers": _others(signing, signer)}) for run, signing in runs.items()}
    return {run: signing for run, signing in left.items() if len(signing.signers) >= signing.needed}


def _others(signing: Signing, signer: str) -> tuple[str, ...]:
    return tuple(one for one in signing.signers if one != signer)


def forget(home: Path, signer: str) -> dict[str, Signing]:
    """From now on trust that signer for no run; whom one trusts then. Raises CorruptError, DiskError."""
    left = without(_read(home).runs, signer)
    _write(home, left)
    return left


def _write(home: Path, runs: dict[str, Signing]) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with atomic_write(home / FILE) as file:
            file.write(json.dumps(_Known(runs=runs).model_dump(mode="json"), indent=1).encode())
    except OSError as error:
        raise from_os_error(error, "remembering the signers") from error


def _read(home: Path) -> _Known:
    path = home / FILE
    try:
        return _Known.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Known()
    except OSError as error:
        raise from_os_error(error, "reading the known signers") from error
    except ValidationError as error:
        raise CorruptError(
            f"{path} is torn or was altered; whom you trust is not known.",
            "Delete it; `swarm verify --trust` asks again.",
        ) from error
