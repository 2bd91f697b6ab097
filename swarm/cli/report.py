"""`swarm report`: what became of a run, as one page or as Markdown, for its model card and for a blog post."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import DataDir
from swarm.errors import UsageError

if TYPE_CHECKING:
    from swarm.document import Document
    from swarm.proto import coordinator_pb2 as pb
    from swarm.report import Facts

_NAME_ONE = "Name one, as swarm runs lists them, or give an invite; or its folder with --data-dir."
_FORMS = (".html", ".md")


def report(
    run: Annotated[
        str,
        typer.Argument(
            metavar="[RUN|INVITE]",
            help="A run on this machine, or an invite of any run; by default the only run here.",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The file to write: .html is one file, .md has its pictures beside it; by default RUN-report.html.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Write a report of a run: curves, evaluations, texts, who took part, what it survived. For everybody to read."""
    from swarm.report import compose

    _require_place(out)
    facts = _facts(run, data_dir)
    target = out or Path(f"{facts.release.run.name}-report.html")
    for path in _write(compose(facts), target):
        typer.echo(str(path))


def _require_place(out: Path | None) -> None:
    if out and out.suffix not in _FORMS:
        raise UsageError(f"A report cannot be written as {out.name}.", "Name a file that ends with .html or .md.")
    if out and not out.parent.is_dir():
        raise UsageError(f"There is no folder {out.parent} for the report.", "Make it, or name another one with --out.")


def _facts(name: str, data_dir: Path | None) -> Facts:
    """From the coordinator that an invite names, or from the folder of a run that was launched here, running or not."""
    from coordinator.reading import told_by
    from swarm import runspec
    from swarm.cli import rundir
    from swarm.invite import is_given
    from swarm.modelcard import Release
    from swarm.report import Facts

    if is_given(name):
        run, status, checkpoints, history, record = _ask(name)
    else:
        run, status, checkpoints, history, record = told_by(rundir.named(name, data_dir, _NAME_ONE))
    spec = runspec.loads(run.spec_toml, "the coordinator's run spec")
    return Facts(Release(spec, run, status, status.latest, merged=False), checkpoints, history, record)


def _ask(invite: str) -> tuple[pb.Run, pb.Status, list[pb.Checkpoint], pb.History, list[pb.RecordEntry]]:
    from swarm.cli import known
    from swarm.invite import Invite
    from swarm.trials.client import TrialClient

    with known.connect(TrialClient, Invite.of(invite)) as client:
        return client.get_run(), client.status(), client.checkpoints(), client.history(), client.record()


def _write(document: Document, target: Path) -> list[Path]:
    """The report's files, its own first. Raises DiskError."""
    from swarm.curves import svg
    from swarm.document import to_html, to_markdown
    from swarm.errors import from_os_error
    from swarm.tensorfile import atomic_write

    picture = f"{target.stem}-{{number}}.svg"
    files = {target: to_html(document)}
    if target.suffix == ".md":
        drawn = {target.with_name(picture.format(number=n)): svg(one) for n, one in enumerate(document.charts, 1)}
        files = {target: to_markdown(document, picture), **drawn}
    try:
        for path, text in files.items():
            with atomic_write(path) as file:
                file.write(text.encode("utf-8", "replace"))
    except OSError as error:
        raise from_os_error(error, f"writing {target}") from error
    return list(files)
