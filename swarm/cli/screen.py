"""What a volunteer sees while a peer trains: a live table, plain lines where there is no terminal, or JSON lines.

The peer says events, dicts with the key "event": "status" (phase, why, round, samples, loss, rate, members, counted,
rejected), "round" (round, loss, swarm_samples, members, seconds), "note" (text), "end" (counted, rejected, finished).
A peer with several GPUs names the one that an event is about: "seat".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from swarm.cli.output import count, rate

Event = dict[str, Any]
Show = Callable[[Event], None]

_KEPT = 6  # lines of history below the live table


@dataclass(frozen=True)
class View:
    """All that the screen knows; `after` makes the next one."""

    phase: str = "starting"
    why: str = ""
    round: int = 0
    samples: int = 0
    loss: float | None = None
    rate: float = 0.0
    members: int = 0
    counted: int = 0
    rejected: int = 0
    rejected_why: str = ""
    history: tuple[str, ...] = ()

    def after(self, event: Event) -> View:
        """The view once `event` has happened; keys that it does not know are left out."""
        kept = {key: value for key, value in event.items() if key in _SHOWN and value is not None}
        if event["event"] == "status":
            return replace(self, **kept)
        line = line_of(event)
        standing = {key: kept[key] for key in ("counted", "rejected", "rejected_why") if key in kept}
        return replace(self, history=(*self.history, *([line] if line else []))[-_KEPT:], **standing)


_SHOWN = set(View.__dataclass_fields__) - {"history"}


def line_of(event: Event) -> str:
    """`event` in one line; empty for events that need none."""
    kind = event["event"]
    if kind == "note":
        return str(event["text"])
    if kind == "round":
        return _round(event)
    if kind == "end":
        end = "The run is finished." if event.get("finished") else "Stopped."
        return f"{end} {count(event['counted'])} of your samples counted, {count(event['rejected'])} were rejected."
    return ""


def _round(event: Event) -> str:
    loss = "" if event.get("loss") is None else f"loss {event['loss']:.3f}  "
    dropped = f"  not counted: {event['dropped_why']}" if event.get("dropped_why") else ""
    return (
        f"round {event['round']} done  {loss}{count(event['swarm_samples'])} samples  "
        f"{event['members']} members  {event['seconds']:.1f} s{dropped}"
    )


def render_all(views: Mapping[str, View]) -> RenderableType:
    """The live screen of a peer with several GPUs, by their names."""
    parts: list[RenderableType] = []
    for seat, view in views.items():
        parts += [Text(seat, style="bold underline"), render(view), Text()]
    return Group(*parts)


def render(view: View) -> RenderableType:
    """The live screen."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("Now", f"{view.phase}: {view.why}" if view.why else view.phase)
    table.add_row("Round", f"{view.round}, {count(view.samples)} samples of yours so far")
    table.add_row("Loss", "" if view.loss is None else f"{view.loss:.3f}")
    table.add_row("Speed", rate(view.rate))
    table.add_row("Swarm", f"{view.members} members" if view.members else "")
    table.add_row("Credit", _credit(view))
    return Group(table, Text(), *(Text(line, style="dim") for line in view.history))


def _credit(view: View) -> str:
    rejected = f", {count(view.rejected)} rejected ({view.rejected_why})" if view.rejected else ""
    return f"{count(view.counted)} samples counted, {count(view.samples)} pending{rejected}"


@contextmanager
def open_screen(as_json: bool) -> Iterator[Show]:
    """Where events go: to the live screen on a terminal, else line by line."""
    if as_json:
        yield show_json
    elif sys.stdout.isatty():
        with Live(console=Console(), refresh_per_second=4) as live:
            yield _LiveScreen(live).show
    else:
        yield _LineScreen().show


def show_json(event: Event) -> None:
    """One event as one line of JSON."""
    typer.echo(json.dumps(event, ensure_ascii=False))


class _LiveScreen:
    def __init__(self, live: Live) -> None:
        self._live = live
        self._views: dict[str, View] = {}

    def show(self, event: Event) -> None:
        seat = str(event.get("seat", ""))
        self._views[seat] = self._views.get(seat, View()).after(event)
        seats = {name: view for name, view in self._views.items() if name}
        self._live.update(render_all(seats) if seats else render(self._views[""]))


class _LineScreen:
    """Every round and note; a status only when the phase or its reason changes."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def show(self, event: Event) -> None:
        line, seat = line_of(event), str(event.get("seat", ""))
        if event["event"] == "status":
            said = f"{event['phase']}: {event['why']}" if event.get("why") else str(event["phase"])
            line, self._last[seat] = ("" if said == self._last.get(seat) else said), said
        if line:
            typer.echo(f"{seat}  {line}" if seat else line)
