"""A rehearsal on the screen. Pure: values in, what rich prints out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarm.checks import Check, Level
from swarm.cli.output import count, duration, members, rate
from swarm.cli.rehearsal.findings import card_of
from swarm.cli.rehearsal.plan import Plan
from swarm.cli.rehearsal.rehearse import Figure, Rehearsal
from swarm.units import size

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILED: "red"}


def screen(plan: Plan, found: Rehearsal) -> RenderableType:
    """All of it: what was supposed, the figures, what a volunteer needs, what would go wrong."""
    parts: list[RenderableType] = [
        Text(f"{plan.spec.run.title or plan.spec.run.name}: a rehearsal, nothing was started", style="bold"),
        Text(),
        _pairs(supposed(plan)),
        Text(),
    ]
    if found.figures["rounds_per_hour"].value:
        parts += [_figures(found), Text()]
    return Group(*parts, _pairs(_costs(plan, found)), Text(), _checks(found.findings))


def supposed(plan: Plan) -> Iterator[tuple[str, str]]:
    """What the figures hang on."""
    swarm, speed = plan.swarm, plan.speed
    yield "Swarm", members(swarm.peers) + (f", {swarm.attackers} of them attackers" if swarm.attackers else "")
    yield "Links", f"about {swarm.uplink:g} Mbit/s up and {swarm.downlink:g} down each; the coordinator's alike"
    if swarm.churn:
        back = f"back after {duration(swarm.away)} on the average"
        yield "Churn", f"each is gone {swarm.churn:g} times an hour, without a goodbye, and {back}"
    else:
        yield "Churn", "nobody goes"
    slow = f"; {swarm.slow:.0%} of them a quarter of it" if swarm.slow else ""
    yield "Speed", f"about {speed.rate:.3g} samples a second for a peer, {speed.why}{slow}"
    yield "Nights", f"all train in the same {swarm.night:g} hours of a day"
    if not plan.prepared:
        yield "Data", "not prepared: sizes and samples are estimates"


def _pairs(rows: Iterator[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    return table


def _figures(found: Rehearsal) -> Table:
    """Each with its range over the drawn swarms."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Expected")
    table.add_column("Usual", justify="right", no_wrap=True)
    table.add_column("Lowest to highest", justify="right", style="dim", no_wrap=True)
    for label, name, say in _SHOWN:
        figure = found.figures[name]
        table.add_row(label, say(figure.value), _range(figure, say))
    return table


def _range(figure: Figure, say: Callable[[float], str]) -> str:
    low, high = say(figure.low), say(figure.high)
    return low if low == high else f"{low} – {high}"


def _few(number: float) -> str:
    return f"{number:.2g}" if number < 10 else count(number)


_SHOWN: Sequence[tuple[str, str, Callable[[float], str]]] = (
    ("Rounds an hour", "rounds_per_hour", lambda value: f"{value:.3g}"),
    ("Samples that count", "samples_per_second", rate),
    ("Time in which peers compute", "utilisation", lambda value: f"{value:.0%}"),
    ("Members of a round", "members", lambda value: f"{value:.3g}"),
    ("A peer's updates in a round, up", "sent_per_round", size),
    ("A peer's night, up", "up_per_night", size),
    ("A peer's night, down", "down_per_night", size),
    ("Until the last round, trained", "training_seconds", duration),
    ("Nights until then", "nights", _few),
)


def _costs(plan: Plan, found: Rehearsal) -> Iterator[tuple[str, str]]:
    needs = found.needs
    yield "Volunteer", f"{size(needs.disk)} of disk, {size(needs.download)} of it fetched at the start"
    yield "", f"{size(needs.device)} where it computes ({card_of(needs.device)}), {size(needs.ram)} of RAM beside that"
    yield "Coordinator", f"{size(found.coordinator_disk)} of disk"
    if found.epochs:
        yield "Data", f"{count(plan.epoch)} samples, used {_few(found.epochs)} times"


def _checks(checks: Sequence[Check]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for check in checks:
        table.add_row(Text(check.level, style=_STYLES[check.level]), check.name, check.says)
        if check.remedy:
            table.add_row("", "", Text(check.remedy, style="dim"))
    return table
