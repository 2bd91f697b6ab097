"""`swarm page`: a link to the run's page that shows the volunteer's own part."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import DataDir, InviteOrOnly
from swarm.errors import NotFoundError

if TYPE_CHECKING:
    from swarm.identity import Identity
    from swarm.invite import Invite


def page(
    invite: InviteOrOnly = "",
    at: Annotated[
        str, typer.Option("--at", help="The page's address, http(s)://…; by default what the run spec says.")
    ] = "",
    hours: Annotated[float, typer.Option("--hours", min=0.1, max=24, help="How long the link is good for.")] = 24.0,
    data_dir: DataDir = None,
) -> None:
    """Print a link to the run's page that shows what you contributed, signed with this machine's key."""
    from swarm.cli import known
    from swarm.pageword import word

    parsed = known.invite(invite)
    address = (at or _address(parsed)).rstrip("/")
    said = word(_identity(data_dir, parsed.run), parsed.run, parsed.fingerprint, time.time(), hours * 3600)
    typer.echo(f"{address}/#me={said}")


def _identity(data_dir: Path | None, run: str) -> Identity:
    from swarm import paths
    from swarm.identity import FILE, Identity

    if not any((folder / FILE).exists() for folder in (data_dir or paths.peer_dir(run), paths.home())):
        raise NotFoundError("This machine has no identity: it took part in no run.", "Ask on the one that takes part.")
    return Identity.of(data_dir or paths.peer_dir(run), paths.home())


def _address(invite: Invite) -> str:
    """What the run's spec says. Raises NotFoundError when it says nothing."""
    from swarm import runspec
    from swarm.cli import known
    from swarm.client import CoordinatorClient

    with known.connect(CoordinatorClient, invite) as client:
        spec = runspec.loads(client.get_run().spec_toml)
    if not spec.run.page:
        raise NotFoundError(
            f"The run {invite.run} does not say where its page is.",
            "Ask the maintainer, and give the address with --at.",
        )
    return spec.run.page
