"""`swarm runs`: the runs on this machine, or those of a coordinator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import AsJson

if TYPE_CHECKING:
    from swarm.proto import coordinator_pb2 as pb


def runs(
    invite: Annotated[
        str | None, typer.Argument(metavar="[INVITE]", help="Ask this coordinator instead of looking on this machine.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs that this machine launched or joined, or those of the coordinator that INVITE names."""
    from swarm.cli.output import echo_json

    rows = _remote(invite) if invite else _local()
    if as_json:
        echo_json(rows)
    elif rows:
        _print(rows)
    else:
        typer.echo("No run here yet; swarm launch RUN.toml starts one, swarm join INVITE takes part in one.")


def _remote(invite: str) -> list[dict[str, Any]]:
    from swarm.cli import known
    from swarm.cli.output import plain
    from swarm.client import CoordinatorClient

    with known.client(CoordinatorClient, invite) as client:
        found: list[dict[str, Any]] = plain(client.list_runs())
        return found


def _local() -> list[dict[str, Any]]:
    from swarm import paths
    from swarm.cli.rundir import INVITE, OWN_INVITE

    launched = [_described(path.parent, "maintainer", OWN_INVITE) for path in sorted(paths.runs().glob("*/run.toml"))]
    joined = [_described(path.parent, "volunteer", INVITE) for path in sorted(paths.peers().glob(f"*/{INVITE}"))]
    return launched + joined


def _described(folder: Path, role: str, invite: str) -> dict[str, Any]:
    status = _ask(folder / invite)
    return {
        "name": folder.name,
        "role": role,
        "state": _state(status) if status or role == "maintainer" else "not reached",
        "round": status.round if status else None,
        "total_rounds": status.total_rounds if status else None,
        "why": (status.halted or status.paused or status.ended) if status else "",
        "folder": str(folder),
    }


def _state(status: pb.Status | None) -> str:
    if status is None:
        return "stopped"
    if status.halted:
        return "halted"
    if status.finished:
        return "finished"
    return "paused" if status.paused else "running"


def _ask(invite: Path) -> pb.Status | None:
    """What the coordinator of the kept invite says; None when it does not answer."""
    from swarm.cli import known
    from swarm.client import CoordinatorClient
    from swarm.errors import SwarmError
    from swarm.invite import Invite

    try:
        with known.connect(CoordinatorClient, Invite.of(str(invite)), timeout=1.0) as client:
            return client.status()
    except (SwarmError, OSError):
        return None


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from swarm.cli.output import add_row, console

    columns = [key for key in rows[0] if key != "title"]
    table = Table(*(key.replace("_", " ").capitalize() for key in columns), box=None, padding=(0, 2, 0, 0))
    for row in rows:
        add_row(table, *("" if row[key] is None else str(row[key]) for key in columns))
    console().print(table)
