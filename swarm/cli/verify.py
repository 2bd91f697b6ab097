"""`swarm verify`: whether a bundle is what people whom you trust released."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.bundles import BundleFolder, Signers
from swarm.cli.options import AsJson
from swarm.cli.output import say
from swarm.errors import UsageError

if TYPE_CHECKING:
    from swarm.bundle.verify import Examined


def verify(
    bundle: BundleFolder,
    signer: Signers = None,
    run: Annotated[
        str, typer.Option("--run", help="The fingerprint of the run that it must be of.", show_default=False)
    ] = "",
    trust: Annotated[
        bool, typer.Option("--trust", help="Show who signed, ask, and remember them for this run.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --trust: agree without being asked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every file, the signatures, who signed, and whether it was recalled. Loads nothing as a model."""
    from swarm import paths
    from swarm.bundle.verify import accept, examined
    from swarm.cli.output import echo_json

    found = examined(bundle)
    if trust:
        _trust(found, paths.home(), yes)
    accept(found, signer or (), run, say=lambda text: say(text, err=True))
    if as_json:
        facts = {"name": found.bundle.name, "version": found.bundle.version, "digest": found.digest}
        echo_json(facts | {"run": found.bundle.lineage.fingerprint, "signers": sorted(found.signers)})
        return
    said = found.bundle
    signed = f"whole and signed by {', '.join(sorted(found.signers))}"
    say(f"{bundle}: {said.name} {said.version} of the run {said.lineage.run} is {signed}.")


def _trust(found: Examined, home: Path, yes: bool) -> None:
    """Ask, and remember. Raises UsageError when the user does not agree or cannot be asked; UntrustedError when those
    whom the bundle names did not sign it.
    """
    from swarm.bundle.trust import Trust, proposed, remember, remembered
    from swarm.bundle.verify import judge

    agreed, before, line = proposed(found.bundle, found.signers), remembered(home, found.bundle), found.bundle.lineage
    judge(found, Trust(frozenset(agreed.signers), agreed.needed))
    if agreed == before:
        return
    if before:
        say(f"ATTENTION: until now this run's signers were {before.whom()}.", err=True)
    say(f"The run {line.run} ({line.fingerprint}) is released by {agreed.whom()}.", err=True)
    say(f"{', '.join(sorted(found.signers))} signed. Compare that with what its maintainers say.", err=True)
    if not yes:
        _ask()
    remember(home, found.bundle, agreed)


def _ask() -> None:
    from swarm.cli.consent import agrees

    if not sys.stdin.isatty():
        raise UsageError("Trust needs your consent, and there is no terminal to ask at.", "Add --yes.")
    if not agrees("Trust them?"):
        raise UsageError("Nobody is trusted; nothing was remembered.", "Run the command again if you change your mind.")
