"""`swarm run-spec`: write, check and describe run specs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from swarm.errors import UsageError

app = typer.Typer(name="run-spec", help="Write, check and describe run specs.", no_args_is_help=True)


@app.command("init")
def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="The file to write.")] = Path("run.toml"),
) -> None:
    """Write an example run spec in which every key is explained."""
    from swarm.runspec import example

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(example().to_toml(explained=True))
    except FileExistsError as error:
        raise UsageError(f"{path} exists already and was not changed.", "Name another file.") from error
    typer.echo(f"{path} written; edit it, then: swarm launch {path}")


@app.command("check")
def check(path: Annotated[Path, typer.Argument(metavar="FILE", help="The run spec.")]) -> None:
    """Check a run spec; all errors at once, each with its line."""
    from swarm.runspec import load

    spec = load(path)
    samples = spec.training.rounds * spec.training.target_batch_size
    typer.echo(
        f"{path} is valid: {spec.run.name} trains {spec.model.source} on {spec.data.source}, "
        f"{spec.training.rounds} rounds of {spec.training.target_batch_size} samples ({samples:,} in all)."
    )


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of run specs, for editors."""
    from swarm.runspec import RunSpec

    typer.echo(json.dumps(RunSpec.model_json_schema(), indent=2))
