"""Where a peer's events are shown: a live table, plain lines where there is no terminal, or JSON lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import RenderableType
from rich.live import Live

from swarm.cli.output import as_json, console, say
from swarm.cli.view import Event, View, line_of, render, render_all

Show = Callable[[Event], None]


@contextmanager
def open_screen(as_json: bool) -> Iterator[Show]:
    """Where events go: to the live screen on a terminal, else line by line."""
    if as_json:
        yield show_json
    elif sys.stdout.isatty():
        screen = _LiveScreen()
        with Live(console=console(), refresh_per_second=4, get_renderable=screen.picture):
            yield screen.show
    else:
        yield _LineScreen().show


def show_json(event: Event) -> None:
    """One event as one line of JSON."""
    typer.echo(as_json(event))


class _LiveScreen:
    def __init__(self) -> None:
        self._views: dict[str, View] = {}

    def show(self, event: Event) -> None:
        seat = str(event.get("seat", ""))
        self._views = {**self._views, seat: self._views.get(seat, View()).after(event, time.monotonic())}

    def picture(self) -> RenderableType:
        """Drawn again and again by a thread of rich's."""
        views, now = self._views, time.monotonic()
        seats = {name: view for name, view in views.items() if name}
        return render_all(seats, now) if seats else render(views.get("", View()), now)


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
            say(f"{seat}  {line}" if seat else line)
