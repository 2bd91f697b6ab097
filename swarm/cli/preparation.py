"""Preparation of a run in a child process of its own, because it loads torch: tokenizer, shards, first model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import typer

from swarm import lifetime
from swarm.errors import SwarmError, from_code, from_os_error

Say = Callable[[str], None]
Line = dict[str, Any]


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
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    columns = (TextColumn("documents"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("documents", total=None, visible=False)

        def documents(done: int, total: int | None) -> None:
            progress.update(bar, completed=done, total=total, visible=done != total)

        prepare(spec_path, folder, View(typer.echo, documents), jobs)


def prepare(spec_path: Path, folder: Path, view: View, jobs: int) -> None:
    """Make the artefacts of the spec in `folder`; `jobs` processes tokenise.

    Raises what the preparation found (DataError, ModelError, …), DiskError.
    """
    report = folder / "prepare.log"
    where = ["--spec", str(spec_path), "--out", str(folder), "--jobs", str(jobs)]
    command = [sys.executable, "-m", "peer.prepare", *where]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with report.open("wb") as errors, _scratch(folder / "tmp") as scratch:
            code, last = _run(command, scratch, errors, view)
    except OSError as error:
        raise from_os_error(error, "preparing the run") from error
    if "error" in last:
        raise from_code(last["error"], last["what"], last["remedy"])
    if code != 0:
        raise SwarmError(f"The preparation ended unexpectedly (exit code {code}).", f"Its report is in {report}.")


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A place for what torch leaves in TMPDIR; inside the run's folder, where even a kill -9 does no harm."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], scratch: Path, errors: IO[bytes], view: View) -> tuple[int, Line]:
    """Exit code and last line of the child; it ends when this function does, also by Ctrl-C."""
    last: Line = {}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**lifetime.child_environment(), "TMPDIR": str(scratch)},
        start_new_session=True,
    ) as child:
        try:
            for line in child.stdout or ():
                last = _parsed(line)
                view.show(last)
        except BaseException:
            child.kill()  # also when Ctrl-C ends the reading
            raise
    return child.returncode, last


def _parsed(line: str) -> Line:
    """A line of the child; what is no JSON object came from a library and says nothing."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
