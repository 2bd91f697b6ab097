"""`swarm data`: make a run's data ready ahead of its launch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import DataDir

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(name="data", help="Make a run's data ready.", no_args_is_help=True)

_MEANINGS = {
    "documents": "documents",
    "tokens": "tokens",
    "train_samples": "samples to train on",
    "heldout_samples": "samples held out for evaluation",
    "cut_documents": "documents longer than a sample, whose end was left out",
    "near_duplicates": "documents much like an earlier one",
    "leaked": "documents held out that are much like one that is trained on",
}


@app.callback()
def _group() -> None:
    """Make a run's data ready."""


@app.command("prepare")
def prepare(
    spec_path: Annotated[Path, typer.Argument(metavar="RUN.toml", help="The run spec.")],
    data_dir: DataDir = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Processes that tokenise; by default one per core.", show_default=False),
    ] = None,
) -> None:
    """Make everything that `swarm launch` needs; interrupted, it goes on where it stopped."""

    from swarm import paths, runspec
    from swarm.cli import rundir
    from swarm.cli.output import console
    from swarm.cli.preparation import prepare_visibly

    spec = runspec.load(spec_path)
    folder = data_dir or paths.run_dir(spec.run.name)
    rundir.check_same_run(folder, spec)
    prepare_visibly(spec_path, folder, jobs or os.cpu_count() or 1)
    facts = json.loads((folder / "artefacts.json").read_text())["facts"]
    console().print(_table(facts))
    for line in _remarks(facts, folder / "near-duplicates.json"):
        typer.echo(line)
    if spec.data.shards:
        name = spec.data.shards.removeprefix("hf:")
        typer.echo(
            f"To let peers read the shards from the hub: hf upload {name} {folder / 'shards'} . --repo-type dataset"
        )
    typer.echo(f"Next: swarm launch {spec_path}{f' --data-dir {data_dir}' if data_dir else ''}")


def _table(facts: dict[str, int]) -> Table:
    from rich.table import Table

    from swarm.cli.output import count

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    for key, meaning in _MEANINGS.items():
        table.add_row(count(facts[key]), meaning)
    return table


def _remarks(facts: dict[str, int], report: Path) -> list[str]:
    """What to look at before the launch."""
    remarks = []
    if facts["near_duplicates"]:
        remarks.append(f"Documents that are much like others are listed in {report}.")
    if facts["leaked"]:
        remarks.append(
            f"Warning: {facts['leaked']} held-out documents are much like some that are trained on, so the held-out "
            "loss will look better than it is. Take the repetitions out of the data."
        )
    if facts["cut_documents"]:
        remarks.append("Documents were cut: a larger data.sequence_length keeps more of them whole.")
    return remarks
