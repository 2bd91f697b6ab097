"""`swarm receipts`: what the coordinator gave this machine in writing about its work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm import paths
from swarm.cli.options import AsJson
from swarm.cli.output import console, say
from swarm.errors import NotFoundError

if TYPE_CHECKING:
    from swarm.proto import coordinator_pb2 as pb

app = typer.Typer(
    name="receipts", help="The coordinator's signed word for every round that you took part in.", no_args_is_help=True
)

Source = Annotated[
    str, typer.Argument(metavar="RUN|FILE", help="A run that this machine joined, or a file of receipts.")
]
InviteOption = Annotated[
    str,
    typer.Option("--invite", help="An invite of the run, or a file with it: the receipts must be of its coordinator."),
]


@dataclass(frozen=True)
class Line:
    """What one receipt says. `why` tells why some samples did not count."""

    run: str
    member_id: str
    round: int
    lineage: int
    counted: int
    rejected: int
    why: str
    digest: str
    issued_at: float


@app.command("show")
def show(source: Source, as_json: AsJson = False) -> None:
    """List what counted in which round, and what did not and why; verified."""
    from swarm.cli.output import echo_json

    lines = [line for path in _files(source) for line in _lines(path)]
    if as_json:
        echo_json([vars(line) for line in lines])
    elif lines:
        _print(lines)
    else:
        say("No round that this machine took part in has been answered yet.")


@app.command("verify")
def verify(source: Source, invite: InviteOption = "", as_json: AsJson = False) -> None:
    """Verify signatures, without a network: the coordinator itself wrote these receipts, and nobody altered them."""
    from swarm.cli.output import echo_json
    from swarm.invite import Invite
    from swarm.receipts import samples, verified

    expected = Invite.of(invite).fingerprint if invite else ""
    books = {path: verified(path, expected) for path in _files(source)}
    verdicts: list[dict[str, Any]] = [
        {
            "file": str(path),
            "fingerprint": book.fingerprint,
            "receipts": len(book.found),
            "counted": sum(samples(one, counted=True) for one in book.found),
            "rejected": sum(samples(one, counted=False) for one in book.found),
        }
        for path, book in books.items()
    ]
    if as_json:
        echo_json(verdicts)
        return
    for verdict in verdicts:
        _say(verdict, known=bool(expected))


def _files(source: str) -> list[Path]:
    """The files of a run's seats, or the file itself. Raises NotFoundError."""
    from swarm.receipts import FILE

    if Path(source).is_file():
        return [Path(source)]
    folder = paths.peer_dir(source)
    found = [path for path in (folder / FILE, *sorted(folder.glob(f"seat-*/{FILE}"))) if path.exists()]
    if not found:
        raise NotFoundError(
            f"There are no receipts of {source!r} on this machine.",
            f"They are in {folder / FILE} once the coordinator answered a report; or name a file.",
        )
    return found


def _lines(path: Path) -> list[Line]:
    from swarm.receipts import verified

    return [_line(receipt) for receipt in verified(path).found]


def _line(receipt: pb.RoundReceipt) -> Line:
    from swarm.receipts import samples, why

    return Line(
        receipt.run,
        receipt.member_id,
        receipt.round,
        receipt.lineage,
        samples(receipt, counted=True),
        samples(receipt, counted=False),
        why(receipt),
        receipt.digest,
        receipt.issued_at,
    )


def _print(lines: list[Line]) -> None:
    from rich.table import Column, Table

    from swarm.cli.output import add_row, count

    digest = Column("Digest", no_wrap=True)
    table = Table("Round", "Counted", "Not counted", digest, "Why not", box=None, padding=(0, 2, 0, 0))
    for line in lines:
        add_row(table, str(line.round), count(line.counted), count(line.rejected), line.digest[:16], line.why)
    console().print(table)
    total, lost = sum(line.counted for line in lines), sum(line.rejected for line in lines)
    say(f"{count(total)} samples counted in {count(len(lines))} rounds, {count(lost)} did not.")


def _say(verdict: dict[str, Any], known: bool) -> None:
    from swarm.cli.output import count

    say(
        f"{verdict['file']}: {count(verdict['receipts'])} receipts are genuine; "
        f"{count(verdict['counted'])} samples counted, {count(verdict['rejected'])} did not."
    )
    if not known:
        say(f"Signed by the coordinator with the fingerprint {verdict['fingerprint']}: --invite compares it.")
