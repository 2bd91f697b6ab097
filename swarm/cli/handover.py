"""`swarm handover`: a run is led from another machine or address from now on."""

from __future__ import annotations

import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import DataDir, RunHere

if TYPE_CHECKING:
    from coordinator.handover import Last


def handover(
    run: RunHere = "",
    *,
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="Give the run away: where it will be led.")] = "",
    copy: Annotated[
        Path | None, typer.Option("--copy", help="With --to: the copy that goes there, a folder or NAME.tar.")
    ] = None,
    here: Annotated[
        str, typer.Option("--here", metavar="HOST:PORT", help="Take the run over: the other machine is lost.")
    ] = "",
    data_dir: DataDir = None,
) -> None:
    """Move a run to another machine or address, while its peers train on and follow by themselves.

    From a machine that still works:

    swarm handover --to HOST:PORT --copy run.tar (it stops leading, and all is in the copy);

    then on the new one: swarm restore run.tar, and the swarm launch that it prints.

    When the machine is lost, on a new one:

    swarm restore BACKUP, swarm handover --here HOST:PORT, and the swarm launch that it prints.
    """
    from swarm.cli import rundir
    from swarm.errors import UsageError

    if bool(to) == bool(here) or bool(to) != bool(copy):
        raise UsageError(
            "It is either --to HOST:PORT with --copy FILE, on the machine that leads; or --here HOST:PORT.",
            "`swarm handover --help` explains both.",
        )
    folder = rundir.named(run, data_dir)
    if copy:
        _give(folder, _address(to), copy)
    else:
        _take(folder, _address(here))


def _give(folder: Path, to: tuple[str, int], copy: Path) -> None:
    """Nothing is acknowledged here any more when the copy is made, so it holds all of the run."""
    from coordinator import backup, lock
    from coordinator.handover import CLOSED, close
    from swarm.cli import rundir
    from swarm.invite import Invite
    from swarm.maintaining import MaintainerClient

    serving = lock.holder(folder)
    if serving and (folder / CLOSED).exists():
        close(folder, _last(folder), to, time.time())  # only the copy is made again
    elif serving:
        with MaintainerClient.connect(Invite.of(str(rundir.kept(folder, rundir.OWN_INVITE)))) as client:
            client.hand_over(*to)
    else:
        with lock.hold(folder):
            close(folder, _last(folder), to, time.time())
    note, _ = backup.back_up(folder, copy)
    typer.echo(f"{note.run} is not led from here any more, from round {note.round} on. All of it is in {copy}.")
    if serving:
        typer.echo("Leave this swarm launch running until all have followed: it tells them the new address.")
    typer.echo("\nNow, on the other machine, with that copy (it holds the run's keys):")
    typer.echo(f"  swarm restore {quote(copy.name)}")
    typer.echo("and the swarm launch that it prints.\n")
    _invite(folder, to)


def _take(folder: Path, at: tuple[str, int]) -> None:
    from coordinator import lock
    from coordinator.handover import take
    from swarm.cli import rundir

    with lock.hold(folder):
        take(folder, _last(folder), at, time.time())
    typer.echo("The run will be led from here. Peers that cannot reach the lost machine hear of it from each other.")
    typer.echo("Only one may lead: do not start the other one again.\n\nNow:")
    typer.echo(f"  {rundir.launching(folder)}\n")
    _invite(folder, at)


def _invite(folder: Path, at: tuple[str, int]) -> None:
    """That of the run's first one; those from `swarm invite new` need the same change of the address."""
    from dataclasses import replace

    from swarm.cli import rundir
    from swarm.invite import Invite

    first = Invite.of(str(rundir.kept(folder, rundir.INVITE)))
    typer.echo("The invite for new volunteers, once it runs there:")
    typer.echo(str(replace(first, host=at[0], port=at[1])))


def _last(folder: Path) -> Last:
    from coordinator import copies
    from coordinator.handover import Last
    from swarm.runspec import load

    return Last(load(folder / "run.toml").run.name, *copies.latest(folder / copies.FILE))


def _address(text: str) -> tuple[str, int]:
    """Raises UsageError."""
    from swarm.errors import InviteError, UsageError
    from swarm.invite import Invite

    try:
        invite = Invite.parse(f"swarm://{text}/run?fp={'0' * 32}&token=t")
    except InviteError as error:
        raise UsageError(f"{text!r} is no address: {error.what}", "Name it as HOST:PORT, or [IPv6]:PORT.") from error
    return invite.host, invite.port
