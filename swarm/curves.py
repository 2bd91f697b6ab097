"""Curves as pictures: one SVG each, alone in a file or inside a page, light and dark, without a script. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float | None]  # x, and y; None where there is no value

_WIDTH, _HEIGHT = 480, 290  # of the whole picture, in units that are about a pixel
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 26, 34, 42  # of them outside the axes
_MOST = 1e18
_TICKS = 5  # about so many on an axis
_LETTER = 7.5  # width of a letter of the legend
_COLOURS = 3

# Colours that people with any colour vision can tell apart, with at least 3:1 against the background.
_STYLE = """
.chart{--ink:#3b4453;--grid:#dde2ea;--line0:#1f63c4;--line1:#b8500c;--line2:#3d7d2b}
@media (prefers-color-scheme:dark){.chart{--ink:#b9c2d0;--grid:#333b48;--line0:#79b0ff;--line1:#ffab66;--line2:#8fd67a}}
.chart text{font:13px system-ui,sans-serif;fill:var(--ink)}
.chart .grid{stroke:var(--grid);stroke-width:1}
.chart .line{fill:none;stroke-width:2;stroke-linejoin:round}
.chart .dots{stroke-dasharray:5 3}
""".replace("\n", "")


@dataclass(frozen=True)
class Series:
    """One line, `dotted` where each point was measured by itself. `points` are in the order of x."""

    name: str
    points: Sequence[Point]
    dotted: bool = False

    @property
    def values(self) -> list[tuple[float, float]]:
        """Those that have one."""
        return [(x, y) for x, y in self.points if y is not None and is_drawn(y)]


@dataclass(frozen=True)
class Chart:
    """At most three series over the same x. `from_zero`: amounts, whose axis begins there."""

    title: str
    series: Sequence[Series]
    x_name: str = "round"
    from_zero: bool = False

    @property
    def empty(self) -> bool:
        return not any(one.values for one in self.series)


@dataclass(frozen=True)
class Scale:
    """From values to places: `low` lies at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def is_drawn(value: float) -> bool:
    """Whether it has a place on an axis: no NaN, and nothing beyond all measure."""
    return abs(value) < _MOST


def svg(chart: Chart) -> str:
    """The picture; the same for the same values."""
    values = [value for one in chart.series for value in one.values]
    xs, ys = [x for x, _ in values], [y for _, y in values]
    x_ticks = ticks(min(xs), max(xs), whole=True)
    y_ticks = ticks(0.0 if chart.from_zero else min(ys), max(ys))
    across = Scale(x_ticks[0], max(*xs, x_ticks[0] + 1), _LEFT, _WIDTH - _RIGHT)
    up = Scale(y_ticks[0], y_ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    label = escape(f"{chart.title}, by {chart.x_name}: {', '.join(one.name for one in chart.series)}", quote=True)
    parts = [
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{label}"><style>{_STYLE}</style>',
        *_y_axis(up, y_ticks),
        *_x_axis(across, x_ticks, chart.x_name),
        *(part for number, one in enumerate(chart.series) for part in _drawn(one, number, across, up)),
        *(_legend(chart.series) if len(chart.series) > 1 else []),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Round numbers 1, 2 or 5 times a power of ten apart, two or more; the first is at most `low`, the last at least
    `high`. Heckbert 1990, "Nice numbers for graph labels", in Graphics Gems.
    """
    if high - low < 1e-9 * (size := max(1.0, abs(low), abs(high))):
        high = low + size
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)
    step = max(1.0, step) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _y_axis(up: Scale, at: Iterable[float]) -> Iterable[str]:
    for value in at:
        y = up(value)
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(value, up.high)}</text>'


def _x_axis(across: Scale, at: Iterable[float], name: str) -> Iterable[str]:
    for value in at:
        if across.low <= value <= across.high:
            place = f'x="{across(value):.1f}" y="{_HEIGHT - _BOTTOM + 18}"'
            yield f'<text {place} text-anchor="middle">{_short(value, across.high)}</text>'
    yield f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(name)}</text>'


def _drawn(one: Series, number: int, across: Scale, up: Scale) -> Iterable[str]:
    colour = f"var(--line{number % _COLOURS})"
    if line := _path(one, across, up):
        kind = "line dots" if one.dotted else "line"
        yield f'<path class="{kind}" style="stroke:{colour}" d="{line}"/>'
    if one.dotted or len(one.values) == 1:
        for x, y in one.values:
            yield f'<circle style="fill:{colour}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3"/>'


def _path(one: Series, across: Scale, up: Scale) -> str:
    """A line with gaps where values are missing; nothing for points that have no neighbour."""
    pieces: list[list[str]] = [[]]
    for x, y in one.points:
        if y is None or not is_drawn(y):
            pieces.append([])
        else:
            pieces[-1].append(f"{across(x):.1f} {up(y):.1f}")
    return "".join(f"M{'L'.join(piece)}" for piece in pieces if len(piece) > 1)


def _legend(series: Sequence[Series]) -> Iterable[str]:
    x = float(_LEFT)
    for number, one in enumerate(series):
        kind = "line dots" if one.dotted else "line"
        yield f'<path class="{kind}" style="stroke:var(--line{number % _COLOURS})" d="M{x:.0f} 14h22"/>'
        yield f'<text x="{x + 28:.0f}" y="18">{escape(one.name)}</text>'
        x += 44 + _LETTER * len(one.name)


def _short(value: float, largest: float) -> str:
    """1,500 or 0.3M: an axis has little room, and all of its labels have one unit."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if largest >= 10 * size:
            return f"{value / size:g}{unit}"
    return f"{value:,g}"
