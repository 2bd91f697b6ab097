"""How files under way are shown: a bar on a terminal, elsewhere a line for each file and now and then one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from swarm.units import size

if TYPE_CHECKING:
    from swarm.bundle.journey import Journey

_EVERY = 10.0  # seconds between two lines


@contextmanager
def shown(doing: str, total: int) -> Iterator[Journey]:
    """What carries `total` bytes; `doing` says what is done with them. Lines go to stderr: stdout has the result."""
    from swarm.bundle.journey import Journey

    if sys.stderr.isatty():
        with _bar(doing, total) as journey:
            yield journey
    else:
        yield Journey(_say, _Lines(doing, total).moved)


@contextmanager
def _bar(doing: str, total: int) -> Iterator[Journey]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from swarm.bundle.journey import Journey
    from swarm.cli.output import console

    columns = (TextColumn(doing), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(err=True), transient=True) as progress:
        bar = progress.add_task(doing, total=total)

        def say(line: str) -> None:
            progress.console.print(line, markup=False, highlight=False)

        yield Journey(say, lambda count: progress.advance(bar, count))


def _say(line: str) -> None:
    typer.echo(line, err=True)


class _Lines:
    """Says how much is done, but not more often than every ten seconds."""

    def __init__(self, doing: str, total: int) -> None:
        self._doing = doing
        self._total = total
        self._done = 0
        self._next = time.monotonic() + _EVERY

    def moved(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            _say(f"{self._doing}: {size(self._done)} of {size(self._total)}")
