"""Curves: round ticks, everything inside the picture, gaps where nothing was measured, and no markup from names."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.curves import Chart, Series, svg, ticks

SVG = "{http://www.w3.org/2000/svg}"
values = st.floats(-1e9, 1e9)


def drawn(*series: Series, **options: bool) -> ElementTree.Element:
    return ElementTree.fromstring(svg(Chart("Loss", series, **options)))  # type: ignore[arg-type]


def lines(picture: ElementTree.Element) -> list[str]:
    return [path.attrib["d"] for path in picture.iter(f"{SVG}path") if path.attrib["class"].startswith("line")]


@given(values, values)
def test_ticks_are_round_and_hold_all_values_between_them(one: float, two: float) -> None:
    low, high = min(one, two), max(one, two)
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    step = found[1] - found[0]
    slack = 1e-6 * max(1.0, abs(low), abs(high), step)
    assert found[0] - slack <= low <= high <= found[-1] + slack
    assert all(b - a == pytest.approx(step, abs=slack) for a, b in pairwise(found))


def test_ticks() -> None:
    assert ticks(0, 1500, whole=True) == [0, 500, 1000, 1500]
    assert ticks(2.3, 6.9) == [2, 3, 4, 5, 6, 7]
    assert ticks(0, 1, whole=True) == [0, 1]
    assert ticks(5, 5) == [5, 6, 7, 8, 9, 10]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.none() | values), min_size=1, max_size=40))
def test_all_points_lie_inside_the_picture(points: list[tuple[int, float | None]]) -> None:
    series = Series("x", sorted(points, key=lambda point: point[0]), dotted=True)
    if not series.values:
        assert Chart("x", [series]).empty
        return
    picture = drawn(series)
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    for circle in picture.iter(f"{SVG}circle"):
        assert 0 <= float(circle.attrib["cx"]) <= width
        assert 0 <= float(circle.attrib["cy"]) <= height
    for path in lines(picture):
        assert all(0 <= float(number) <= width for number in re.findall(r"-?[\d.]+", path))


def test_a_line_has_a_gap_where_nothing_was_measured() -> None:
    [line] = lines(
        drawn(Series("x", [(0, 1.0), (1, 2.0), (2, None), (3, float("nan")), (4, 2.0), (5, 1.0), (6, None)]))
    )
    assert (line.count("M"), line.count("L")) == (2, 2)


def test_a_lone_value_is_a_dot_and_an_amount_begins_at_nothing() -> None:
    picture = drawn(Series("x", [(3, 7.0)]), from_zero=True)
    assert len(list(picture.iter(f"{SVG}circle"))) == 1
    assert "0" in [text.text for text in picture.iter(f"{SVG}text")]


def test_names_are_no_markup_and_only_several_series_need_a_legend() -> None:
    name = '"><script>alert(1)</script>'
    two = [Series(name, [(0, 1.0), (1, 2.0)]), Series("b", [(0, 1.0), (1, 3.0)])]
    picture = drawn(*two)
    assert not list(picture.iter(f"{SVG}script"))
    assert name in [text.text for text in picture.iter(f"{SVG}text")]
    assert name not in [text.text for text in drawn(two[0]).iter(f"{SVG}text")]
    assert svg(Chart("a", two)) == svg(Chart("a", two))
