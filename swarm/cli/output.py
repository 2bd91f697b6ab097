"""How values are written for people and for programs."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import typer

from swarm.texts import lines, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from swarm.checks import Check

Item = TypeVar("Item")

_ENDLESS = 1 << 20  # letters
_FILLED = re.compile(" +(?=\n)")
_CONTROL = re.compile(r"[\x7f-\x9f]")  # which JSON lets through
_MARKS = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "failed": ("failed ", "red")}


def echo_json(value: object) -> None:
    """Print `value`, which may hold protobuf messages, as JSON."""
    typer.echo(as_json(plain(value), indent=2))


def as_json(value: object, indent: int | None = None) -> str:
    """JSON with nothing that a terminal would obey."""
    written = json.dumps(value, indent=indent, ensure_ascii=False)
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def say(text: str, err: bool = False) -> None:
    """Print lines in which others' words may be: no terminal obeys them. What goes to stderr on a terminal is broken
    between words.
    """
    text = lines(text)
    if err and _is_terminal(err):
        at_words = textwrap.TextWrapper(width(err), break_long_words=False)
        at_words.break_on_hyphens = False  # a command's options stay in one piece
        text = "\n".join(map(at_words.fill, text.split("\n")))
    typer.echo(text, err=err)


def width(err: bool = False) -> int:
    """How long a line may be: as the terminal is wide. To a file or a program lines go whole."""
    return shutil.get_terminal_size().columns if _is_terminal(err) else _ENDLESS


def console(err: bool = False) -> Console:
    """Where rich draws, in lines as `width` has them, also when the terminal changes its own."""
    from rich.console import Console

    if _is_terminal(err):
        return Console(stderr=err)
    return Console(file=cast(IO[str], _Trimmed(sys.stderr if err else sys.stdout)), width=_ENDLESS)


class _Trimmed:
    """A stream whose lines end with a letter: rich fills those of a table with blanks, up to the longest."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(_FILLED.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_terminal(err: bool) -> bool:
    return (sys.stderr if err else sys.stdout).isatty()


def add_row(table: Table, *cells: str, style: str = "") -> None:
    """A row in which others' words may be: they are neither markup nor obeyed by a terminal."""
    from rich.text import Text

    table.add_row(*(Text(shown(cell)) for cell in cells), style=style)


def first_rows(table: Table, items: Sequence[Item], most: int) -> Sequence[Item]:
    """Those for which there is room; how many more there are is said below. A row takes half a millisecond."""
    if len(items) > most:
        table.caption = f"and {count(len(items) - most)} more; --json lists all"
        table.caption_justify = "left"
    return items[:most]


def show_checks(checks: Sequence[Check], err: bool = False) -> None:
    """A line for each check, and below it what to do."""
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        mark, colour = _MARKS[check.level]
        typer.echo(f"{typer.style(mark, fg=colour)}  {shown(check.name).ljust(width)}  {lines(check.says)}", err=err)
        if check.remedy:
            typer.echo(f"{' ' * (width + 11)}{lines(check.remedy)}", err=err)


def plain(value: Any) -> Any:
    """`value` as JSON knows it. Unlike protobuf's own conversion: every field, in its name, integers as numbers."""
    if hasattr(value, "DESCRIPTOR"):
        return {field.name: plain(getattr(value, field.name)) for field in value.DESCRIPTOR.fields}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (str, int, float)):
        return value
    return [plain(item) for item in value]


def count(number: float) -> str:
    """12,345"""
    return f"{number:,.0f}"


def members(number: int) -> str:
    """1 member, 3 members"""
    return f"{count(number)} member{'s' * (number != 1)}"


def member_short(name: str, member_id: str) -> str:
    """anna (c0ffee42-1): the name and the beginning of the id, with the seat."""
    key, _, seat = member_id.partition("-")
    return f"{name} ({key[:8]}{'-' if seat else ''}{seat})"


def rate(samples_per_second: float) -> str:
    """A throughput; three digits are enough."""
    return f"{samples_per_second:.3g}/s" if samples_per_second < 100 else f"{samples_per_second:,.0f}/s"


def metrics(values: Mapping[str, float]) -> str:
    """bleu 31.2, exact-match 0.5"""
    return ", ".join(f"{name} {values[name]:.4g}" for name in sorted(values))


def duration(seconds: float) -> str:
    """12 s, 3 min, 2 h, 4 d: the largest unit that fits."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
