"""`swarm doctor`: whether this machine can take part in a run, without joining it."""

from __future__ import annotations

import typer

from swarm.cli.options import AsJson, DataDir, Device, InviteOrOnly


def doctor(
    invite: InviteOrOnly = "",
    data_dir: DataDir = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Check machine, line and coordinator for a run, before anything large is fetched; each trouble with its remedy."""
    from swarm import paths
    from swarm.checks import Check, Level, failed
    from swarm.cli import known
    from swarm.cli.output import echo_json, show_checks
    from swarm.client import CoordinatorClient
    from swarm.errors import SwarmError, UnfitError
    from swarm.version import __version__

    parsed = known.invite(invite)
    if not as_json:
        typer.echo(f"garage-swarm {__version__}: looking at this machine and its line; about ten seconds", err=True)

    from peer import admission

    code = 0
    facts: dict[str, object] = {}
    try:
        with known.connect(CoordinatorClient, parsed, folder=data_dir) as client:
            checks, facts = admission.examine(client, data_dir or paths.peer_dir(parsed.run), device)
    except SwarmError as error:
        checks, code = [Check("coordinator", Level.FAILED, error.what, error.remedy)], error.exit_code
    if as_json:
        echo_json({**facts, "version": __version__, "checks": [vars(check) for check in checks]})
    else:
        show_checks(checks)
    if failed(checks):
        raise typer.Exit(code or UnfitError.exit_code)
