"""An invite in the forms in which people hand it on: a link, a QR code, a file."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from swarm.errors import from_os_error

if TYPE_CHECKING:
    from swarm.invite import Invite


def share(invite: Invite, output: Path | None = None) -> None:
    """Print the link, and on a terminal its QR code; write it to `output` if there is one. Raises DiskError."""
    if output:
        write(invite, output)
    typer.echo(str(invite))
    if sys.stdout.isatty():
        typer.echo(qr_code(str(invite)))


def qr_code(text: str) -> str:
    """Lines for a terminal that a camera reads; two modules in each letter's height."""
    import segno

    drawn = io.StringIO()
    segno.make_qr(text, error="l").terminal(drawn, compact=True)
    return drawn.getvalue()


def write(invite: Invite, path: Path) -> None:
    """A file that only the user can read, and that every command takes in an invite's place. Raises DiskError."""
    from swarm.tensorfile import atomic_write

    try:
        with atomic_write(path) as file:
            os.fchmod(file.fileno(), 0o600)  # it holds the token
            file.write(f"{invite}\n".encode())
    except OSError as error:
        raise from_os_error(error, "writing the invite") from error
