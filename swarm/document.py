"""A document of sections, and the two forms of it: one HTML file with all that it needs, and Markdown beside pictures.

Blocks hold plain text; only the writing of a form escapes it, all of it, so that nobody's word becomes markup. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from urllib.parse import quote

from swarm.curves import Chart, svg
from swarm.markdown import code, escaped

Row = Sequence[str]


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Rows:
    """Names and what they are; `large` ones are figures that are seen first."""

    rows: Sequence[tuple[str, str]]
    large: bool = False


@dataclass(frozen=True)
class Table:
    """Columns with a `#` before their name hold numbers; rows have as many cells."""

    columns: Row
    rows: Sequence[Row]


@dataclass(frozen=True)
class Pictures:
    """Charts side by side, none of them empty."""

    charts: Sequence[Chart]


@dataclass(frozen=True)
class Quote:
    """What somebody or something wrote, whose lines stay: after `given`, which was there before, comes `text`."""

    title: str
    given: str
    text: str


Block = Paragraph | Rows | Table | Pictures | Quote


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """What stands at the top, and what follows."""

    title: str
    lead: Sequence[Block]
    sections: Sequence[Section]

    @property
    def charts(self) -> list[Chart]:
        """All, in their order."""
        blocks = [block for section in self.sections for block in section.blocks]
        return [chart for block in blocks if isinstance(block, Pictures) for chart in block.charts]


# ── HTML ───────────────────────────────────────────────────────────────────────────────────────


def to_html(document: Document) -> str:
    """One file that fetches nothing and runs nothing."""
    title = escape(document.title)
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title>\n'
        f"<style>\n{_style()}</style>\n</head>\n"
    )
    body = [f"<h1>{title}</h1>", *map(_block, document.lead)]
    for section in document.sections:
        blocks = "\n".join(map(_block, section.blocks))
        body.append(f"<section>\n<h2>{escape(section.title)}</h2>\n{blocks}\n</section>")
    return head + "<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"


@cache
def _style() -> str:
    return files("swarm").joinpath("document.css").read_text(encoding="utf-8")


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Rows(rows, large):
            items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows)
            return f'<dl class="{"large" if large else "rows"}">{items}</dl>'
        case Table(columns, rows):
            return _table(columns, rows)
        case Pictures(charts):
            figures = (f"<figure><figcaption>{escape(one.title)}</figcaption>\n{svg(one)}</figure>" for one in charts)
            return f'<div class="pictures">{"".join(figures)}</div>'
        case Quote(title, given, text):
            said = f"<b>{escape(given)}</b>{escape(text)}"
            return f'<figure class="quote"><figcaption>{escape(title)}</figcaption><pre>{said}</pre></figure>'


def _table(columns: Row, rows: Sequence[Row]) -> str:
    kinds = [' class="number"' if column.startswith("#") else "" for column in columns]
    named = zip(kinds, columns, strict=True)
    head = "".join(f'<th scope="col"{kind}>{escape(column.removeprefix("#"))}</th>' for kind, column in named)
    body = "\n".join(f"<tr>{_cells(kinds, row)}</tr>" for row in rows)
    # It scrolls by itself on a narrow screen, also by the keyboard.
    return f'<div class="table" tabindex="0"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def _cells(kinds: Row, row: Row) -> str:
    return "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))


# ── Markdown ───────────────────────────────────────────────────────────────────────────────────


def to_markdown(document: Document, picture: str) -> str:
    """`picture` names the files of the charts, with `{number}` in it, counted from 1."""
    names = (picture.format(number=number) for number in range(1, len(document.charts) + 1))
    parts = [f"# {_inline(document.title)}", *(part for block in document.lead for part in _lines(block, names))]
    for section in document.sections:
        parts.append(f"## {_inline(section.title)}")
        parts += [part for block in section.blocks for part in _lines(block, names)]
    return "\n\n".join(parts) + "\n"


def _lines(block: Block, names: Iterator[str]) -> list[str]:
    match block:
        case Paragraph(text):
            return [_inline(text)]
        case Rows(rows):
            return ["\n".join(f"- **{_inline(name)}**: {_inline(value)}" for name, value in rows)]
        case Table(columns, rows):
            return [_pipes(columns, rows)]
        case Pictures(charts):
            return [f"![{_inline(one.title)}]({quote(next(names))})" for one in charts]
        case Quote(title, given, text):
            return [f"**{_inline(title)}**", code(given + text)]


def _pipes(columns: Row, rows: Sequence[Row]) -> str:
    rule = ["--:" if column.startswith("#") else "---" for column in columns]
    head = [_inline(column.removeprefix("#")) for column in columns]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *(map(_inline, row) for row in rows)))


def _inline(text: str) -> str:
    """On one line: what begins a line may begin a block."""
    return escaped(" ".join(text.split()))
