"""`swarm ledger`: which samples went into which round, by whom, and whether the ledger adds up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import AsJson, InviteOrOnly
from swarm.cli.output import console, say
from swarm.errors import UsageError
from swarm.ranges import Layout, Range, merge, total

if TYPE_CHECKING:
    from rich.table import Table

    from swarm.proto import coordinator_pb2 as pb
    from swarm.replay import Replay

app = typer.Typer(
    name="ledger", help="Which samples went into which round, by whom; and whether it adds up.", no_args_is_help=True
)

_STATES = ("counted", "expired", "rejected")
Samples = Annotated[bool, typer.Option("--samples", help="Name shards and rows of the data instead of positions.")]
Names = dict[str, str]  # of members, by id


@dataclass(frozen=True)
class Line:
    """What became of some positions of one round, all of one epoch, for one reason."""

    round: int
    state: str
    member_id: str
    why: str
    ranges: list[Range]

    @property
    def samples(self) -> int:
        return total(self.ranges)


@app.command("show")
def show(
    invite: InviteOrOnly = "",
    round_: Annotated[int | None, typer.Option("--round", min=0, help="Only this round.", show_default=False)] = None,
    first: Annotated[int, typer.Option("--from", min=0, help="The first round.")] = 0,
    last: Annotated[
        int | None,
        typer.Option("--to", min=0, help="The last round; by default the newest.", show_default=False),
    ] = None,
    samples: Samples = False,
    as_json: AsJson = False,
) -> None:
    """List the samples of finished rounds: which made it, by whom; what expired or was rejected, and why."""
    from swarm.cli import known
    from swarm.client import CoordinatorClient

    first, last = _window(round_, first, last)
    with known.client(CoordinatorClient, invite) as client:
        run, status = client.get_run(), client.status()
        finished = status.round - 1 if last is None else min(last, status.round - 1)
        entries = client.ledger(first, finished + 1) if first <= finished else []
    lines, layout = account(entries, sum(run.layout.shard_samples)), _layout(run.layout)
    _say(lines, _names(status), layout if samples else None, as_json)


@app.command("replay")
def replay_(invite: InviteOrOnly = "", samples: Samples = False, as_json: AsJson = False) -> None:
    """Replay the ledger from its first entry: is every sample of every finished epoch counted exactly once?"""
    from swarm.cli import known
    from swarm.cli.output import echo_json
    from swarm.client import CoordinatorClient
    from swarm.replay import replay

    with known.client(CoordinatorClient, invite) as client:
        layout, entries, names = _layout(client.get_run().layout), client.ledger(), _names(client.status())
    found = replay(entries, layout)
    rows = _rows(found, layout) if samples else {}
    if as_json:
        echo_json(_facts(found, names) | ({"samples": rows} if samples else {}))
    else:
        _print_replay(found, names, rows)
    found.check()


@app.command("root")
def root_(
    invite: InviteOrOnly = "",
    round_: Annotated[
        int | None,
        typer.Option("--round", min=0, help="Of which checkpoint; by default the newest round.", show_default=False),
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Print the lines that it is the hash of instead.")] = False,
) -> None:
    """Print the ledger root: one hash over all ranges that counted before a round, as a bundle's lineage has it."""
    from swarm.bundle.lineage import lines as lines_of
    from swarm.bundle.lineage import root
    from swarm.cli import known
    from swarm.client import CoordinatorClient

    with known.client(CoordinatorClient, invite) as client:
        before = client.status(brief=True).round if round_ is None else round_
        entries = client.ledger(0, before) if before else []
    say("\n".join(lines_of(entries)) if lines else f"{root(entries)}  {before}")


def _window(round_: int | None, first: int, last: int | None) -> tuple[int, int | None]:
    """The first and the last round that are asked for. Raises UsageError."""
    if round_ is None:
        return first, last
    if first or last is not None:
        raise UsageError("--round names one round, --from and --to name several.", "Use the one or the others.")
    return round_, round_


def account(entries: Iterable[pb.LedgerEntry], epoch_samples: int) -> list[Line]:
    """Entries with the same round, outcome, member, reason and epoch as one line; by round, counted first."""
    parts: dict[tuple[int, str, str, str, int], list[Range]] = {}
    for entry in entries:
        epoch = entry.range.start // max(1, epoch_samples)
        key = (entry.round, entry.state, entry.member_id, entry.why, epoch)
        parts.setdefault(key, []).append(Range(entry.range.start, entry.range.stop))
    ordered = sorted(parts, key=lambda key: (key[0], key[1] != "counted", key[1], min(parts[key])))
    return [Line(*key[:4], merge(parts[key])) for key in ordered]


def _layout(found: pb.DataLayout) -> Layout:
    return Layout.received(found.shard_samples, found.sequence_length, found.seed)


def _names(status: pb.Status) -> Names:
    return {member.member_id: member.name for member in status.members}


def _who(member_id: str, names: Names) -> str:
    from swarm.cli.output import member_short

    return member_short(names.get(member_id, "?"), member_id)


def _say(lines: list[Line], names: Names, layout: Layout | None, as_json: bool) -> None:
    """`layout` is given when shards and rows shall be named."""

    from swarm.cli.output import echo_json
    from swarm.replay import samples_of

    if as_json:
        echo_json(
            [
                asdict(line)
                | {"name": names.get(line.member_id, ""), "samples": line.samples}
                | ({"shards": samples_of(layout, line.ranges)} if layout else {})
                for line in lines
            ]
        )
    elif lines:
        console().print(_table(lines, names, layout))
    else:
        say("No samples in these rounds yet.")


def _table(lines: list[Line], names: Names, layout: Layout | None) -> Table:
    from swarm.cli.output import add_row, count

    table = _columns("Round", "Samples", "Outcome", "Shard:rows" if layout else "Positions", "Member", "Why")
    for line in lines:
        add_row(
            table,
            str(line.round),
            count(line.samples),
            line.state,
            _where(line, layout),
            _who(line.member_id, names),
            line.why,
        )
    return table


def _where(line: Line, layout: Layout | None) -> str:
    from swarm.replay import samples_of, span

    if layout is None:
        return ", ".join(map(span, line.ranges))
    return "  ".join(f"{shard}:{','.join(map(span, rows))}" for shard, rows in samples_of(layout, line.ranges).items())


def _rows(found: Replay, layout: Layout) -> dict[int, dict[int, list[Range]]]:
    """The counted samples of each epoch: rows by shard."""
    from swarm.replay import samples_of

    size = layout.samples_per_epoch
    windows = {epoch.number: Range(epoch.number * size, (epoch.number + 1) * size) for epoch in found.epochs}
    return {
        number: samples_of(layout, (part.overlap(window) for part in found.counted))
        for number, window in windows.items()
    }


def _facts(found: Replay, names: Names) -> dict[str, Any]:
    members = [
        {"member_id": key, "name": names.get(key, "")} | {state: says[state] for state in (*_STATES, "leased")}
        for key, says in found.members.items()
    ]
    return {
        "exact": not found.faults,
        "verdict": found.verdict,
        "epochs": [asdict(epoch) | {"finished": epoch.finished} for epoch in found.epochs],
        "members": members,
        "faults": found.faults,
    }


def _print_replay(found: Replay, names: Names, rows: dict[int, dict[int, list[Range]]]) -> None:

    out = console()
    for table in _tables(found, names):
        if table.row_count:
            out.print(table)
    for line in _row_lines(rows):
        say(line)
    say(found.verdict)


def _tables(found: Replay, names: Names) -> Iterator[Table]:
    from swarm.cli.output import add_row, count

    epochs = _columns("Epoch", "Counted once", "Still open", "Counted twice", "Lent in vain")
    for epoch in found.epochs:
        sums = (epoch.counted - epoch.twice, epoch.leased + epoch.free, epoch.twice, epoch.again)
        add_row(epochs, str(epoch.number), *map(count, sums))
    members = _columns("Member", "Counted", "Expired", "Rejected", "Leased")
    for member, says in found.members.items():
        add_row(members, _who(member, names), *(count(says[state]) for state in (*_STATES, "leased")))
    yield from (epochs, members)


def _row_lines(rows: dict[int, dict[int, list[Range]]]) -> Iterator[str]:
    from swarm.replay import span

    for epoch, shards in rows.items():
        for shard, parts in shards.items():
            yield f"epoch {epoch}, shard {shard}: rows {', '.join(map(span, parts))}"


def _columns(*titles: str) -> Table:
    from rich.table import Table

    return Table(*titles, box=None, padding=(0, 2, 0, 0))
