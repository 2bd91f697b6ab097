"""The replay of a ledger: what adds up is said to, and every kind of wrong ledger is found out by its first range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import CorruptError
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Layout, Range, RangeSet, merge, subtract
from swarm.replay import replay, samples_of, span

LAYOUT = Layout((6, 4), 8, seed=3)  # ten samples in an epoch


def entry(start: int, stop: int, state: str = "counted", round_: int = 0, who: str = "a") -> pb.LedgerEntry:
    place = pb.Range(start=start, stop=stop)
    return pb.LedgerEntry(range=place, state=state, round=round_, member_id=who, lease_id="1-x")


RIGHT = [
    entry(0, 4),
    entry(4, 8, "expired", who="b"),
    entry(4, 6, "expired", 1),  # undone
    entry(6, 8, "rejected", 1),
    entry(0, 60, "rejected", 1, "liar"),
    entry(4, 8, "counted", 2, "b"),
    entry(8, 10, "counted", 1),
    entry(10, 13, "counted", 3),
    entry(13, 15, "expired", 3),
    entry(15, 17, "leased", 4, "b"),
]


def test_a_right_ledger_adds_up() -> None:
    found = replay(RIGHT, LAYOUT)
    found.check()
    first, second = found.epochs
    assert first.finished
    assert (first.counted, first.twice, first.again) == (10, 0, 18)
    assert (second.counted, second.leased, second.free, second.finished) == (3, 2, 5, False)
    assert found.members["b"] == {"expired": 4, "counted": 4, "leased": 2}
    assert found.counted == (Range(0, 13),)
    assert found.verdict == (
        "The ledger adds up: 13 samples counted, none twice; every sample of 1 finished epoch exactly once; "
        "still open: epoch 1."
    )


def test_a_run_that_has_not_begun_adds_up() -> None:
    found = replay([], LAYOUT)
    found.check()
    assert found.epochs == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (entry(0, 4, "counted", 7, "b"), "range 0-3 is counted a second time: in round 7, lease 1-x of b."),
        (entry(12, 14, "counted", 7), "range 12 is counted a second time"),
        (entry(8, 10, "expired", 7), "range 8-9 expired after it had been counted"),
        (entry(2, 3, "leased", 7), "range 2 is lent although it is counted"),
        (entry(16, 18, "leased", 7), "range 16 is lent twice at once"),
        (entry(19, 20, "counted", 7), "range 17-18 is neither counted, nor lent, nor given back"),
        (
            entry(17, 1 << 62, "counted", 7),
            "range 17-4611686018427387903 reaches beyond its epoch",
        ),
        (entry(17, 18, "lost", 7), 'range 17 is "lost", which is no state'),
    ],
)
def test_a_wrong_ledger_is_refused_by_its_first_range(wrong: pb.LedgerEntry, said: str) -> None:
    right = [item for item in RIGHT if item.member_id != "liar"]
    found = replay([*right, wrong], LAYOUT)
    assert said in found.verdict
    with pytest.raises(CorruptError, match="does not add up: range"):
        found.check()


@pytest.mark.parametrize("gone", [0, 6, 7])
def test_a_lost_entry_leaves_a_gap(gone: int) -> None:
    right = [item for item in RIGHT if item.member_id != "liar"]
    with pytest.raises(CorruptError, match="neither counted, nor lent, nor given back"):
        replay(right[:gone] + right[gone + 1 :], LAYOUT).check()


def test_twice_counted_samples_are_in_the_epochs_sum() -> None:
    found = replay([*RIGHT, entry(8, 12)], LAYOUT)
    assert [epoch.twice for epoch in found.epochs] == [2, 2]
    assert [epoch.counted for epoch in found.epochs] == [10, 3]


def test_positions_that_mean_the_same_sample_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from swarm import replay as module
    from swarm.ranges import Location

    monkeypatch.setattr(module, "locate", lambda _layout, _position: Location(0, 0, 0))
    with pytest.raises(CorruptError, match="position 1 means row 0 of shard 0, as an earlier one of epoch 0 does"):
        replay(RIGHT, LAYOUT).check()


@given(st.integers(0, 2**32), st.lists(st.integers(1, 9), max_size=6))
def test_a_whole_epoch_is_every_row_of_every_shard(seed: int, shards: list[int]) -> None:
    layout = Layout((*shards, 2), 8, seed)
    size = layout.samples_per_epoch
    whole = {shard: [Range(0, rows)] for shard, rows in enumerate(layout.shard_samples)}
    assert samples_of(layout, [Range(size, 2 * size)]) == whole
    halves = samples_of(layout, [Range(0, size // 2)]), samples_of(layout, [Range(size // 2, size)])
    for shard, rows in whole.items():
        assert merge([*halves[0].get(shard, []), *halves[1].get(shard, [])]) == rows


def test_spans_name_the_first_and_the_last() -> None:
    assert (span(Range(4, 5)), span(Range(4, 8))) == ("4", "4-7")


pairs = st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda pair: Range(pair[0], pair[0] + pair[1]))


@given(st.lists(pairs, max_size=20), pairs)
def test_a_range_set_is_what_its_positions_say(items: list[Range], window: Range) -> None:
    known = RangeSet()
    for item in items:
        known.add(item)
    assert known.ranges == merge(items)
    there = {position for item in items for position in range(*item)} & set(range(*window))
    assert {position for part in known.overlap(window) for position in range(*part)} == there
    left = [window] if window else []
    for item in items:
        left = subtract(left, item)
    assert known.missing(window) == merge(left)
