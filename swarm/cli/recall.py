"""`swarm recall`: say, signed, that a bundle should be used no more."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.bundles import BundleFolder
from swarm.cli.output import say
from swarm.cli.signer import Key, own_key
from swarm.errors import UsageError, from_os_error

if TYPE_CHECKING:
    from swarm.bundle.keys import Signer
    from swarm.bundle.verify import Examined


def recall(
    bundle: BundleFolder,
    reason: Annotated[str, typer.Option("--reason", help="Why, in a sentence; everybody sees it.")],
    key: Key = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The notice to write; by default DIGEST.json.", show_default=False),
    ] = None,
) -> None:
    """Write a signed notice that recalls a bundle, to be put where the bundle says that one would lie."""
    from swarm.bundle import keys
    from swarm.bundle.lineage import moment
    from swarm.bundle.recall import Notice, signed
    from swarm.bundle.verify import examined

    found, signer = examined(bundle), keys.load(key or own_key())
    _require_known(found, signer)
    said = found.bundle
    notice = Notice(bundle=found.digest, name=said.name, version=said.version, reason=reason, at=moment(time.time()))
    target = output or Path(f"{found.digest}.json")
    try:
        target.write_bytes(signed(notice, signer))
    except OSError as error:
        raise from_os_error(error, "writing the notice") from error
    where = f"{said.recall.rstrip('/')}/{found.digest}.json"
    say(f"{target}: {said.name} {said.version} is recalled.")
    say(f"{f'Put it at {where}. {_THERE}' if said.recall else _NOWHERE} {_LIMITS}", err=True)


_THERE = "Who runs the bundle with garage-swarm and can reach that address is refused within an hour."
_NOWHERE = "The bundle names no address for notices (release.recall), so no client will look for it: tell people."
_LIMITS = "A recall reaches nobody who is offline or uses other programs, and takes no copy back."


def _require_known(found: Examined, signer: Signer) -> None:
    """A notice by anybody else would not be believed. Raises UsageError."""
    known = set(found.bundle.signing.signers) or found.signers
    if signer.public.fingerprint not in known:
        raise UsageError(
            f"The key {signer.public.fingerprint} is none of those who release this model; nobody would believe it.",
            f"Those are: {', '.join(sorted(known))}.",
        )
