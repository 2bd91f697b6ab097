"""`swarm config`: what this machine may do for a swarm, and when."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(name="config", help="What this machine may do, and when.", no_args_is_help=True)


@app.command("show")
def show() -> None:
    """Print all settings with their meanings."""
    from swarm import neighbour, paths

    typer.echo(neighbour.to_toml(neighbour.load(paths.config())), nl=False)


@app.command("path")
def path() -> None:
    """Print where the settings are kept."""
    from swarm import paths

    typer.echo(paths.config())


@app.command("set")
def set_(
    key: Annotated[str, typer.Argument(metavar="KEY", help="For example when.hours.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help='For example "22:00-07:30"; several with ; between.')],
) -> None:
    """Change one setting; a running peer takes it up within seconds."""
    from swarm import neighbour, paths

    changed = neighbour.changed(neighbour.load(paths.config()), key, value)
    neighbour.save(changed, paths.config())
    typer.echo(f"{key} is set; running peers take it up within seconds")


@app.command("check")
def check() -> None:
    """Say whether the settings are right."""
    from swarm import neighbour, paths

    neighbour.load(paths.config())
    typer.echo(f"{paths.config()} is right")
