"""Asking a volunteer: the card, and yes or no."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from swarm.cli import card
from swarm.cli.output import say, width
from swarm.cli.screen import show_json
from swarm.errors import UsageError, from_os_error

if TYPE_CHECKING:
    from peer.admission import Prospect
    from swarm.client import CoordinatorClient


@dataclass(frozen=True)
class Asking:
    """How the volunteer is asked: `agreed` is --yes, `name` what others will see."""

    name: str
    agreed: bool
    as_json: bool


def require(client: CoordinatorClient, found: Prospect, folder: Path, asking: Asking) -> None:
    """Show the card, and ask, unless the volunteer agreed to the same terms before.

    Raises UsageError when the volunteer does not agree, or cannot be asked; DiskError.
    """
    agreement, terms = card.Agreement(folder / "consent.json"), card.terms(found.spec, client.invite)
    if agreement.holds(terms):
        return
    rows = [*terms, *card.costs(found, card.Activity.of(client.status()), asking.name)]
    _show(rows, agreement.known(), asking)
    if not asking.agreed:
        _ask()
    try:
        agreement.keep(terms)
    except OSError as error:
        raise from_os_error(error, "keeping your consent") from error


def _show(rows: card.Rows, known: bool, asking: Asking) -> None:
    if asking.agreed and asking.as_json:
        show_json({"event": "card", "changed": known, **dict(rows)})
        return
    news = "The maintainer changed the run since you agreed:" if known else "This machine would take part:"
    say(f"{news}\n{card.text(rows, width(not asking.agreed))}", err=not asking.agreed)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "Joining needs your consent, and there is no terminal to ask at; nothing was fetched.",
            "Read the card above, then add --yes.",
        )
    if not agrees("Take part?"):
        raise UsageError("Not joined; nothing was fetched.", "Run the command again if you change your mind.")


def agrees(question: str) -> bool:
    """Ask at the terminal; Ctrl-C is a no, too."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        typer.echo(err=True)
        return False
