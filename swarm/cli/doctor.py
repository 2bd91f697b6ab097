"""`swarm doctor`: whether this machine can take part in a run, without joining it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import AsJson, DataDir, InviteText

if TYPE_CHECKING:
    from peer.checkup import Check

_MARKS = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "failed": ("failed ", "red")}


def doctor(
    invite: InviteText,
    data_dir: DataDir = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Check machine, line and coordinator for a run, before anything large is fetched; each trouble with its remedy."""
    from peer.checkup import Check, Level
    from swarm import paths
    from swarm.cli.output import echo_json
    from swarm.client import CoordinatorClient
    from swarm.errors import SwarmError, UnfitError
    from swarm.invite import Invite
    from swarm.version import __version__

    parsed = Invite.of(invite)
    if not as_json:
        typer.echo(f"garage-swarm {__version__}: looking at this machine and its line; about ten seconds", err=True)

    from peer import admission

    code = 0
    facts: dict[str, object] = {}
    try:
        with CoordinatorClient.connect(parsed) as client:
            checks, facts = admission.examine(client, data_dir or paths.peer_dir(parsed.run), device)
    except SwarmError as error:
        checks, code = [Check("coordinator", Level.FAILED, error.what, error.remedy)], error.exit_code
    if as_json:
        echo_json({**facts, "version": __version__, "checks": [vars(check) for check in checks]})
    else:
        _print(checks)
    if any(check.level is Level.FAILED for check in checks):
        raise typer.Exit(code or UnfitError.exit_code)


def _print(checks: Sequence[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark, colour = _MARKS[check.level]
        typer.echo(f"{typer.style(mark, fg=colour)}  {check.name.ljust(width)}  {check.says}")
        if check.remedy:
            typer.echo(f"{' ' * (width + 11)}{check.remedy}")
