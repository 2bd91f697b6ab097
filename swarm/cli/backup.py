"""`swarm backup` and `swarm restore`: a run's safe copy, and a run made of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import DataDir, RunHere

if TYPE_CHECKING:
    from coordinator.backup import Note
    from swarm.checks import Check


def backup(
    run: RunHere = "",
    *,
    to: Annotated[Path, typer.Option("--to", help="A new folder, or a file NAME.tar; an earlier backup is replaced.")],
    data_dir: DataDir = None,
) -> None:
    """Copy a run's files as they are at one moment, while its coordinator is running or stopped."""
    from coordinator.backup import back_up
    from swarm.cli import rundir

    folder = rundir.named(run, data_dir)
    note, findings = back_up(folder, to)
    _tell(findings)
    typer.echo(f"{to}: {note.run} at round {note.round}, checked. It holds the run's keys: keep it to yourself.")


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="What swarm backup wrote.")],
    data_dir: DataDir = None,
) -> None:
    """Make a backup a data directory from which swarm launch goes on. Nothing that is there is overwritten."""
    from coordinator.backup import note_of
    from coordinator.backup import restore as restored
    from swarm import paths
    from swarm.cli import rundir

    folder = data_dir or paths.run_dir(note_of(source).run)
    note, findings = restored(source, folder)
    _tell(findings)
    typer.echo(f"{folder}: {note.run} at round {note.round}, as it was on {_date(note)}.")
    typer.echo(f"It goes on with: {rundir.launching(folder)}")


def _tell(findings: Sequence[Check]) -> None:
    """What is copied as it is, but should be known."""
    from swarm.cli.output import show_checks

    show_checks(findings, err=True)


def _date(note: Note) -> str:
    return f"{datetime.fromtimestamp(note.made_at).astimezone():%Y-%m-%d %H:%M}"
