"""`swarm checkpoints`: the states that a run has kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.maintain import RunName, maintaining
from swarm.cli.options import AsJson, DataDir, InviteOrOnly
from swarm.cli.output import console, say
from swarm.errors import CorruptError, NotFoundError

if TYPE_CHECKING:
    from swarm.proto import coordinator_pb2 as pb
    from swarm.transfer import Progress

app = typer.Typer(name="checkpoints", help="List and fetch the checkpoints of a run.", no_args_is_help=True)


@app.command("list")
def list_(invite: InviteOrOnly = "", as_json: AsJson = False) -> None:
    """List the checkpoints that the coordinator keeps."""
    from swarm.cli import known
    from swarm.cli.output import echo_json
    from swarm.client import CoordinatorClient

    with known.client(CoordinatorClient, invite) as client:
        found = client.checkpoints()
    if as_json:
        echo_json(found)
    else:
        _print(found)


@app.command("get")
def get(
    invite: InviteOrOnly = "",
    round_: Annotated[
        int | None, typer.Option("--round", min=0, help="Of which round; by default the latest.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The file to write; by default RUN-round-N.safetensors.", show_default=False
        ),
    ] = None,
) -> None:
    """Fetch a checkpoint, verified; goes on where an interrupted fetch stopped."""
    from swarm.cli import known
    from swarm.client import CoordinatorClient

    parsed = known.invite(invite)
    with known.connect(CoordinatorClient, parsed) as client:
        wanted = chosen(client.checkpoints(), round_)
        target = output or Path(f"{parsed.run}-round-{wanted.round}.safetensors")
        with _progress_bar(target.name, wanted.size) as progress:
            client.download(wanted.sha256, wanted.size, target, progress)
    _check_digest(target, wanted.digest)
    say(f"{target}: round {wanted.round}, digest {wanted.digest[:16]}")


@app.command("approve")
def approve(
    round_: Annotated[int, typer.Argument(metavar="ROUND", min=0, help="The round of a checkpoint that is kept.")],
    why: Annotated[str, typer.Option("--why", help="The reason; everybody sees it.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take that back.")] = False,
    run: RunName = "",
    data_dir: DataDir = None,
) -> None:
    """Stand for a checkpoint as the run's maintainer: it is kept, and marked in lists."""
    with maintaining(run, data_dir) as client:
        found = client.approve(round_, why, revoke)
    said = "approved no more" if revoke else f"approved by {found.approved_by}, and is kept"
    say(f"the checkpoint of round {found.round} ({found.digest[:16]}) is {said}")


def chosen(checkpoints: list[pb.Checkpoint], round_: int | None) -> pb.Checkpoint:
    """The checkpoint of `round_`, or the latest. Raises NotFoundError that names what there is."""
    matching = [item for item in checkpoints if round_ in (None, item.round)]
    if matching:
        return max(matching, key=lambda item: item.round)
    kept = ", ".join(str(item.round) for item in checkpoints) or "none"
    raise NotFoundError(
        f"The coordinator keeps no checkpoint of {'any round' if round_ is None else f'round {round_}'}.",
        f"It keeps those of the rounds: {kept}.",
    )


def _check_digest(target: Path, digest: str) -> None:
    from swarm.tensorfile import state_digest

    if state_digest(target) != digest:
        raise CorruptError(f"{target} does not hold the state that the coordinator lists.", "Tell the maintainer.")


def _print(checkpoints: list[pb.Checkpoint]) -> None:
    from datetime import datetime

    from rich.table import Column, Table

    from swarm.cli.output import add_row, metrics
    from swarm.units import size

    names = ("Size", "Held-out loss", "Metrics", "Made", "Approved")
    table = Table("Round", Column("Digest", no_wrap=True), *names, box=None, padding=(0, 2, 0, 0))
    for item in sorted(checkpoints, key=lambda item: item.round):
        loss = f"{item.heldout_loss:.3f}" if item.has_heldout_loss else ""
        made = f"{datetime.fromtimestamp(item.created_at).astimezone():%Y-%m-%d %H:%M}" if item.created_at else ""
        measured = loss, metrics(item.metrics)
        add_row(table, str(item.round), item.digest[:16], size(item.size), *measured, made, _approved(item))
    console().print(table)


def _approved(item: pb.Checkpoint) -> str:
    return f"by {item.approved_by}{item.approved_why and f': {item.approved_why}'}" if item.approved_by else ""


@contextmanager
def _progress_bar(name: str, size: int) -> Iterator[Progress]:
    """A bar on stderr, and none where that is no terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    out = console(err=True)
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=size)
        yield lambda there: bar.update(task, completed=there)
