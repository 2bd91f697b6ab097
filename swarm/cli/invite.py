"""`swarm invite`: who may take part. On the coordinator's machine."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import AsJson, DataDir

if TYPE_CHECKING:
    from coordinator.invites import Entry
    from swarm.invite import Invite

app = typer.Typer(name="invite", help="Who may take part in a run of this machine.", no_args_is_help=True)

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="A file for the invite.", show_default=False)]


@app.command("show")
def show(run: RunName, data_dir: DataDir = None, output: Output = None) -> None:
    """Print the run's first invite as a link and a QR code."""
    _give(_first(_folder(run, data_dir)), output)


@app.command("new")
def new(
    run: RunName,
    role: Annotated[str, typer.Option("--role", help="volunteer, validator or maintainer.")] = "volunteer",
    days: Annotated[float, typer.Option("--days", min=0, help="How long it is valid; 0 is for ever.")] = 30,
    note: Annotated[str, typer.Option("--note", help="For whom it is, for your list.")] = "",
    data_dir: DataDir = None,
    output: Output = None,
) -> None:
    """Make another invite, which can be revoked alone; a running coordinator takes it at once."""
    from coordinator.invites import Invites

    folder = _folder(run, data_dir)
    entry, token = Invites(folder).make(role, note, days, time.time())
    typer.echo(f"invite {entry.id}: {_ends(entry)}", err=True)
    _give(replace(_first(folder), token=token), output)


@app.command("list")
def list_(run: RunName, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all invites; what they are worth cannot be read from the list."""
    from coordinator.invites import Invites
    from swarm.cli.output import echo_json

    entries = Invites(_folder(run, data_dir)).all()
    if as_json:
        echo_json([{key: value for key, value in asdict(entry).items() if key != "sha256"} for entry in entries])
        return
    for entry in entries:
        typer.echo(f"{entry.id:<8}{entry.role:<12}{_ends(entry):<34}{entry.note}")


@app.command("revoke")
def revoke(
    run: RunName, invite_id: Annotated[str, typer.Argument(metavar="ID", help="As listed.")], data_dir: DataDir = None
) -> None:
    """End an invite: who joined with it is refused within seconds."""
    from coordinator.invites import Invites

    entry = Invites(_folder(run, data_dir)).revoke(invite_id, time.time())
    typer.echo(f"invite {entry.id} ({entry.note or entry.role}) is revoked")


def qr(invite: Invite) -> str:
    """The invite as a QR code of block characters, for a terminal."""
    import io

    import segno

    drawn = io.StringIO()
    segno.make(str(invite), error="l", micro=False).terminal(drawn, compact=True, border=1)
    return drawn.getvalue()


def _give(invite: Invite, output: Path | None) -> None:
    from swarm.errors import from_os_error

    if output:
        try:
            output.write_text(f"{invite}\n")
            output.chmod(0o600)
        except OSError as error:
            raise from_os_error(error, "writing the invite") from error
        typer.echo(f"written to {output}; volunteers run: swarm join {output.name}")
        return
    typer.echo(str(invite))
    if sys.stdout.isatty():
        typer.echo(qr(invite))


def _first(folder: Path) -> Invite:
    from swarm.invite import Invite

    return Invite.of(str(folder / "invite"))


def _folder(run: str, data_dir: Path | None) -> Path:
    from swarm import paths
    from swarm.errors import NotFoundError

    folder = data_dir or paths.run_dir(run)
    if not (folder / "invite").exists():
        raise NotFoundError(f"There is no launched run in {folder}.", "`swarm runs` lists those of this machine.")
    return folder


def _ends(entry: Entry) -> str:
    if entry.revoked_at:
        return "revoked"
    if not entry.expires_at:
        return "valid until revoked"
    left = "expired" if time.time() >= entry.expires_at else "valid until"
    return f"{left} {datetime.fromtimestamp(entry.expires_at, UTC):%Y-%m-%d %H:%M} UTC"
