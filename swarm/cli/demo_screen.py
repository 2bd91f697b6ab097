"""What `swarm demo` shows: a live table of the peers, plain lines where there is no terminal, or JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from swarm.cli.output import console, count, rate
from swarm.cli.screen import show_json

Event = dict[str, Any]


@dataclass
class DemoView:
    """All that the screen knows of the demo."""

    total_rounds: int = 0
    round: int = 0
    samples: int = 0
    seconds: float = 0.0
    note: str = "starting"
    peers: dict[str, Event] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Learn from an event."""
        name = event.get("peer", "")
        if event["event"] == "start":
            self.total_rounds = event["total_rounds"]
        elif event["event"] == "round" and not event["dropped_why"]:
            self.round = max(self.round, event["round"] + 1)
            self.samples = max(self.samples, event["global_samples"])
        elif event["event"] == "note" and not name:
            self.note = event["text"]
        if name:
            known = {key: value for key, value in event.items() if value is not None}
            self.peers[name] = {**self.peers.get(name, {}), **known}

    @property
    def rate(self) -> float:
        """Samples per second of compute, all peers together."""
        return sum(float(peer.get("rate", 0.0)) for peer in self.peers.values())


def render(view: DemoView) -> RenderableType:
    """The live screen."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("peer", "round", "loss", "counted", "samples/s", "now"):
        table.add_column(title, justify="left" if title in ("peer", "now") else "right", no_wrap=title != "now")
    for name, peer in sorted(view.peers.items()):
        table.add_row(
            name,
            str(peer.get("round", "")),
            f"{peer['loss']:.3f}" if peer.get("loss") else "",
            count(peer.get("counted", 0)),
            rate(peer.get("rate", 0.0)),
            _doing(peer),
        )
    bar = ProgressBar(total=max(view.total_rounds, 1), completed=view.round, width=40)
    head = Table.grid(padding=(0, 2, 0, 0))
    head.add_row(bar, f"round {view.round} of {view.total_rounds}", f"{count(view.samples)} samples", rate(view.rate))
    return Group(head, Text(), table) if view.peers else Text(view.note, style="dim")


def _doing(peer: Event) -> str:
    phase, why = peer.get("phase", "starting"), peer.get("why", "")
    return f"{phase}: {why}" if why else str(phase)


def render_result(result: Event, width: int | None = None) -> RenderableType:
    """The demo's last word; its sample is framed where there are so many columns, and else in one line."""
    credit = ", ".join(f"{name} {count(samples)}" for name, samples in sorted(result["counted"].items()))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    before, after = result["heldout_loss_before"], result["heldout_loss_after"]
    table.add_row("Held-out loss", f"{before:.3f} before, {after:.3f} after")
    table.add_row("Rounds", f"{result['rounds']}, {count(result['samples'])} samples, {result['seconds']:.0f} s in all")
    table.add_row("Counted samples", credit)
    table.add_row("Digests", _digests(result))
    table.add_row("Checkpoint", result["checkpoint"])
    title, sample = "what it writes now", " ".join(result["sample"].split())
    framed = Panel(Text(sample), title=title, width=min(78, width)) if width else Text(f"{title}: {sample}")
    return Group(Text(), table, Text(), framed)


def _digests(result: Event) -> str:
    agree = "all peers agree after every round" if result["digests_agree"] else "THEY DIFFER: this is a bug"
    return f"{agree} ({result['digest'][:16]}…)"


@contextmanager
def open_demo_screen(as_json: bool) -> Iterator[Callable[[Event], None]]:
    """Where events go: to the live screen on a terminal, else line by line."""
    if as_json:
        yield show_json
    elif sys.stdout.isatty():
        screen = _LiveScreen()
        yield from screen.opened()
    else:
        yield _LineScreen().show


class _LiveScreen:
    def __init__(self) -> None:
        self._view = DemoView()
        self._console = console()
        self._live = Live(console=self._console, refresh_per_second=4)

    def opened(self) -> Iterator[Callable[[Event], None]]:
        with self._live:
            yield self.show

    def show(self, event: Event) -> None:
        self._view.take(event)
        self._live.update(render(self._view))
        if event["event"] == "result":
            self._live.stop()
            self._console.print(render_result(event, self._console.width))


class _LineScreen:
    """One line per finished round of the swarm."""

    def __init__(self) -> None:
        self._view = DemoView()

    def show(self, event: Event) -> None:
        before = self._view.round
        self._view.take(event)
        if event["event"] == "note" and not event.get("peer"):
            typer.echo(event["text"])
        elif self._view.round > before:
            losses = "  ".join(
                f"{name} {peer['loss']:.3f}" for name, peer in sorted(self._view.peers.items()) if peer.get("loss")
            )
            typer.echo(
                f"round {self._view.round} of {self._view.total_rounds}  {count(self._view.samples)} samples  "
                f"{rate(self._view.rate)}  loss: {losses}"
            )
        elif event["event"] == "result":
            console().print(render_result(event))
