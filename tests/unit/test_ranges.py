"""Laws of ranges and of the order of samples."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from swarm.ranges import Layout, Range, locate, merge, subtract, total

spans = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda ends: Range(min(ends), max(ends)))
span_lists = st.lists(spans, max_size=8)
layouts = st.builds(
    Layout,
    shard_samples=st.lists(st.integers(1, 12), min_size=1, max_size=6).map(tuple),
    sequence_length=st.just(8),
    seed=st.integers(0, 2**64 - 1),
)


def positions(ranges: list[Range]) -> set[int]:
    return {position for item in ranges for position in range(item.start, item.stop)}


def is_canonical(ranges: list[Range]) -> bool:
    return all(ranges) and all(left.stop < right.start for left, right in pairwise(ranges))


@given(span_lists)
def test_merge_keeps_the_positions_in_canonical_form(ranges: list[Range]) -> None:
    merged = merge(ranges)
    assert positions(merged) == positions(ranges)
    assert is_canonical(merged)
    assert merge(merged) == merged
    assert total(merged) == len(positions(ranges))


@given(span_lists, spans)
def test_subtract_takes_exactly_what_is_gone(ranges: list[Range], gone: Range) -> None:
    left = subtract(ranges, gone)
    assert positions(left) == positions(ranges) - positions([gone])
    assert all(left)
    assert subtract(left, gone) == left


@given(span_lists, spans)
def test_subtract_then_add_back_is_the_union(ranges: list[Range], gone: Range) -> None:
    assert merge([*subtract(ranges, gone), gone]) == merge([*ranges, gone])


@given(span_lists)
def test_canonical_ranges_stay_canonical_under_subtraction(ranges: list[Range]) -> None:
    left = merge(ranges)
    for gone in ranges:
        left = subtract(left, gone)
    assert left == []


@given(spans, spans)
def test_overlap_is_the_intersection(left: Range, right: Range) -> None:
    both = left.overlap(right)
    assert positions([both]) == positions([left]) & positions([right])
    assert len(both) >= 0
    assert left.covers(both) or not both
    assert left.covers(right) == (left.start <= right.start and right.stop <= left.stop)


@given(spans)
def test_a_range_is_as_long_as_it_has_positions(span: Range) -> None:
    assert len(span) == len(positions([span]))
    assert bool(span) == bool(positions([span]))


@given(layouts, st.integers(0, 5))
def test_an_epoch_goes_through_every_sample_once(layout: Layout, epoch: int) -> None:
    first = epoch * layout.samples_per_epoch
    found = [locate(layout, first + offset) for offset in range(layout.samples_per_epoch)]
    assert {location.epoch for location in found} == {epoch}
    every = {(shard, row) for shard, count in enumerate(layout.shard_samples) for row in range(count)}
    assert len(found) == len(every)
    assert {(location.shard, location.row) for location in found} == every


@given(layouts)
def test_neighbours_mostly_share_a_shard(layout: Layout) -> None:
    shards = [locate(layout, position).shard for position in range(layout.samples_per_epoch)]
    assert sum(left != right for left, right in pairwise(shards)) == len(layout.shard_samples) - 1


def test_the_order_is_the_same_on_every_machine_and_differs_between_epochs() -> None:
    layout = Layout((5, 7, 3), 8, 42)
    order = [locate(layout, position)[1:] for position in range(15)]
    assert order[:5] == [(0, 1), (0, 2), (0, 4), (0, 0), (0, 3)]
    assert [locate(layout, position)[1:] for position in range(15, 30)] != order
    assert [locate(Layout((5, 7, 3), 8, 43), position)[1:] for position in range(15)] != order
