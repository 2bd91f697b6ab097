"""`swarm identity`: the key that your credit belongs to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from swarm.cli.options import AsJson, DataDir

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(name="identity", help="The key that your credit belongs to.", no_args_is_help=True)


@app.command("show")
def show(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print your id as others see it, and where the key is kept."""
    from swarm.cli.output import echo_json
    from swarm.identity import Identity

    folder = _folder(data_dir)
    identity = Identity.load_or_create(folder)
    found = {
        "member_id": identity.member_id,
        "public_key": identity.public_key.hex(),
        "file": str(folder / "identity.pem"),
    }
    if as_json:
        echo_json(found)
        return
    typer.echo(f"id          {found['member_id']}\npublic key  {found['public_key']}\nkept in     {found['file']}")


@app.command("backup")
def backup(data_dir: DataDir = None) -> None:
    """Print the backup phrase: write it down, and show it to nobody."""
    from swarm.identity import Identity

    typer.echo("Who has these words has your identity. Write them on paper, in this order:", err=True)
    typer.echo(Identity.load_or_create(_folder(data_dir)).phrase)


@app.command("restore")
def restore(data_dir: DataDir = None) -> None:
    """Take up the identity of a backup phrase, which is asked for, or read from standard input."""
    from swarm.identity import Identity

    asked = sys.stdin.isatty()
    phrase = typer.prompt("The 24 words", hide_input=True) if asked else sys.stdin.read()
    identity = Identity.restore(phrase, _folder(data_dir))
    typer.echo(f"The identity {identity.member_id} is restored.")


def _folder(data_dir: Path | None) -> Path:
    from swarm import paths

    return data_dir or paths.home()
