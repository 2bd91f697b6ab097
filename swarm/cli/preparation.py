"""Preparation of a run in a child process of its own, because it loads torch: tokenizer, shards, first model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer

from swarm.cli.children import Line, run_child
from swarm.errors import from_os_error

Say = Callable[[str], None]


@dataclass(frozen=True)
class View:
    """Where the preparation is seen: `say` gets one line per step, `documents` how many are ready of how many."""

    say: Say
    documents: Callable[[int, int | None], None] = lambda _done, _total: None

    def show(self, line: Line) -> None:
        """A line of the child."""
        if "step" in line:
            self.say(f"{line['step']}: {line['detail']}")
        elif "documents" in line:
            self.documents(line["documents"], line["total"])


def prepare_visibly(spec_path: Path, folder: Path, jobs: int) -> None:
    """As `prepare`; steps and, on a terminal, a progress bar are printed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from swarm.cli.output import console

    out = console()
    columns = (TextColumn("documents"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        bar = progress.add_task("documents", total=None, visible=False)

        def documents(done: int, total: int | None) -> None:
            progress.update(bar, completed=done, total=total, visible=done != total)

        prepare(spec_path, folder, View(typer.echo, documents), jobs)


def prepare(spec_path: Path, folder: Path, view: View, jobs: int) -> None:
    """Make the artefacts of the spec in `folder`; `jobs` processes tokenise.

    Raises what the preparation found (DataError, ModelError, …), DiskError.
    """
    where = ["--spec", str(spec_path), "--out", str(folder), "--jobs", str(jobs)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run_child("peer.prepare", where, folder / "prepare.log", view.show)
    except OSError as error:
        raise from_os_error(error, "preparing the run") from error
