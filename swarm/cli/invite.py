"""`swarm invite`: let people in, and take that back."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.maintain import RunName, maintaining, shared
from swarm.cli.options import AsJson, DataDir

if TYPE_CHECKING:
    from rich.table import Table

    from swarm.proto import coordinator_pb2 as pb

app = typer.Typer(name="invite", help="Let people in, and take that back.", no_args_is_help=True)

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write it to this file, too: run.swarm-invite.", show_default=False),
]


@app.command("show")
def show(run: RunName = "", data_dir: DataDir = None, output: Output = None) -> None:
    """Print the run's first invite, as a link, and on a terminal as a QR code."""
    from swarm.cli.share import share

    share(shared(run, data_dir), output)


@app.command("new")
def new(
    run: RunName = "",
    data_dir: DataDir = None,
    role: Annotated[str, typer.Option("--role", help="volunteer, validator or maintainer.")] = "volunteer",
    days: Annotated[float, typer.Option("--days", min=0, help="Days until it expires; 0: never.")] = 30,
    note: Annotated[str, typer.Option("--note", help="For whom it is; only maintainers see it.")] = "",
    slots: Annotated[int, typer.Option("--slots", min=0, help="Members at a time, at most; 0: any number.")] = 0,
    weight: Annotated[
        float, typer.Option("--weight", min=0, help="What its members weigh together, at most; 0: each of them 1.")
    ] = 0,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Make an invite. It is shown only now: the coordinator keeps no copy."""
    from swarm.cli.output import echo_json, plain, say
    from swarm.cli.share import share, write

    with maintaining(run, data_dir) as client:
        made = client.make_invite(role, days, note, slots, weight)
    invite = replace(shared(run, data_dir), token=made.token)
    if as_json:
        if output:
            write(invite, output)
        echo_json({**plain(made.invite), "invite": str(invite)})
        return
    say(f"{made.invite.id}: for a {made.invite.role}, {_state(made.invite, time.time())}", err=True)
    share(invite, output)


@app.command("list")
def list_(run: RunName = "", data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all invites: for whom, until when, and how many members have joined with each and are here."""

    from swarm.cli.output import console, echo_json

    with maintaining(run, data_dir) as client:
        found = client.invites()
    if as_json:
        echo_json(found)
    else:
        console().print(_table(found, time.time()))


@app.command("revoke")
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `swarm invite list` names it.")],
    run: RunName = "",
    data_dir: DataDir = None,
) -> None:
    """Take an invite back. Who joined with it is out within seconds; what they contributed stays counted,
    but for a state that they alone held."""
    from swarm.cli.output import say

    with maintaining(run, data_dir) as client:
        revoked = client.revoke_invite(id_)
    say(f"{revoked.id} is revoked; its members end within seconds")


def _table(found: list[pb.InviteRecord], now: float) -> Table:
    from rich.table import Column, Table

    from swarm.cli.output import add_row

    table = Table(Column("Id", no_wrap=True), "Role", "State", "Members", "Note", box=None, padding=(0, 2, 0, 0))
    for item in found:
        add_row(table, item.id, item.role, _state(item, now), _members(item), item.note)
    return table


def _members(item: pb.InviteRecord) -> str:
    of, weight = f" of {item.slots}" if item.slots else "", f", weight {item.weight:g}" if item.weight else ""
    return f"{item.members}{of}{weight}"


def _state(item: pb.InviteRecord, now: float) -> str:
    from swarm.cli.output import duration

    if item.revoked_at:
        return f"revoked {duration(now - item.revoked_at)} ago"
    if not item.expires_at:
        return "valid without an end"
    if now >= item.expires_at:
        return f"expired {duration(now - item.expires_at)} ago"
    return f"valid for {duration(item.expires_at - now)}"
