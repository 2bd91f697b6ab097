"""`swarm status`: what goes on in a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import AsJson, InviteOrOnly

if TYPE_CHECKING:
    from swarm.client import CoordinatorClient

_EVERY_SECONDS = 2.0


def status(
    invite: InviteOrOnly = "",
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until Ctrl-C.")] = False,
) -> None:
    """Show rounds, members, what each does and why it waits."""
    from swarm.cli import known
    from swarm.client import CoordinatorClient

    with known.client(CoordinatorClient, invite) as client:
        if as_json:
            _as_json(client, watch)
        else:
            _as_table(client, watch)


def _as_json(client: CoordinatorClient, watch: bool) -> None:
    from swarm.cli.output import echo_json

    echo_json(client.status())
    while watch:
        time.sleep(_EVERY_SECONDS)
        echo_json(client.status())


def _as_table(client: CoordinatorClient, watch: bool) -> None:
    from rich.live import Live

    from swarm.cli.output import console
    from swarm.cli.show import status_view

    out = console()
    if not watch:
        out.print(status_view(client.status(), time.time()))
        return
    with Live(console=out, auto_refresh=False) as live:
        while True:
            live.update(status_view(client.status(), time.time()), refresh=True)
            time.sleep(_EVERY_SECONDS)
