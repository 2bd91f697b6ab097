"""What the commands that run a bundle share: their arguments, and the agreement to its terms."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.errors import UsageError, from_os_error

if TYPE_CHECKING:
    from swarm.bundle.policy import Policy

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")]
Signers = Annotated[
    list[str] | None,
    typer.Option("--signer", help="A signer to trust: a fingerprint, or the file of a public key.", show_default=False),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="NAME:RIGHT",
        help="A right that a plugin declares: NAME:network, NAME:read=FOLDER, NAME:write=FOLDER. May be repeated.",
        show_default=False,
    ),
]
NoPlugins = Annotated[bool, typer.Option("--no-plugins", help="Run the model without its plugins.")]
Unsandboxed = Annotated[
    bool,
    typer.Option("--unsandboxed-plugins", help="Let plugins run where nothing keeps them in: with all that you may."),
]
Accept = Annotated[bool, typer.Option("--accept", help="Agree to the bundle's terms without being asked.")]


def require_terms(name: str, policy: Policy, accepted: bool) -> None:
    """Show the bundle's terms and ask, unless the user agreed to the same before. Raises UsageError, DiskError."""
    from swarm import paths
    from swarm.cli.card import Agreement

    rows = [("", line) for line in policy.terms()]
    agreement = Agreement(paths.home() / "agreements" / f"{name}.json")
    if not rows or agreement.holds(rows):
        return
    for line in policy.terms():
        typer.echo(clean(line), err=True)
    if not accepted:
        _ask()
    try:
        agreement.keep(rows)
    except OSError as error:
        raise from_os_error(error, "keeping your consent") from error


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "This model has terms to agree to, and there is no terminal to ask at.",
            "Read them above, then add --accept.",
        )
    if not typer.confirm("Do you agree?", err=True):
        raise UsageError("Not started: you did not agree.", "Run the command again if you change your mind.")


def clean(text: str) -> str:
    """Without what a terminal would obey: a model may write anything."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
