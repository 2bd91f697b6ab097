"""What one message of a member costs the coordinator: time in proportion to its size, and no rows for nothing."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import events as e
from coordinator import translate
from coordinator.state import State
from coordinator.tick import tick
from swarm.errors import UsageError
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Range, joined, merge, subtract, without
from tests.histories import TERMS, fresh

LARGE = TERMS.__class__(run="law", total_rounds=1000, target_batch_size=100_000, epoch_samples=5_000_000)
SECONDS = 5.0  # of a processor; before, the same took minutes
DIGEST = "a" * 64


def run(state: State, event: e.Event) -> tuple[State, list[d.Decision]]:
    return tick(state, [event], 0.0, seed=1)


def begun() -> tuple[State, str]:
    """A run in which m holds a lease, whose id is told."""
    state, _ = run(fresh(LARGE), e.Join("m", b"k" * 32, "m", "1"))
    state, made = run(state, e.TakeLease("m", 1 << 20))
    return state, next(item.lease.id for item in made if isinstance(item, d.LeaseGranted))


def parts(lease: str, starts: range, size: int = 1) -> list[pb.LeasedRange]:
    return [pb.LeasedRange(lease_id=lease, range=pb.Range(start=at, stop=at + size)) for at in starts]


def told(*reports: pb.RoundReport) -> e.Report:
    return e.Report("m", translate.round_reports("m", reports))


def entries(made: list[d.Decision]) -> list[tuple[Range, str]]:
    return [(entry.range, entry.state) for item in made if isinstance(item, d.ReportFiled) for entry in item.entries]


ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: Range(pair[0], sum(pair))))


@given(ranges, ranges)
def test_what_is_taken_out_or_put_in_locally_is_what_it_is_as_a_whole(some: list[Range], others: list[Range]) -> None:
    before, left = merge(some), merge(some)
    for item in filter(None, others):
        left = subtract(left, item)
    assert without(before, others) == left
    assert joined(before, others) == merge([*before, *others])


def test_scattered_claims_take_no_longer_than_they_are_many() -> None:
    state, lease = begun()
    kept = [pb.RoundReport(round=n, digest=DIGEST, counted=parts(lease, range(n, 2000, 8))) for n in range(0, 4, 2)]
    lost = [pb.RoundReport(round=n, digest=DIGEST, dropped=parts(lease, range(n, 2000, 8))) for n in range(4, 8, 2)]
    began = time.process_time()
    _, made = run(state, told(*kept, *lost))
    assert time.process_time() - began < SECONDS
    assert [sum(kind == name for _, kind in entries(made)) for name in ("counted", "rejected")] == [500, 500]
    with pytest.raises(UsageError, match="parts of leases are refused"):
        told(pb.RoundReport(round=0, digest=DIGEST, counted=parts(lease, range(0, 9000, 2))))


def test_batches_side_by_side_are_one_part_of_their_lease() -> None:
    state, lease = begun()
    _, made = run(
        state, told(pb.RoundReport(round=0, digest=DIGEST, counted=parts(lease, range(0, 80_000, 8), size=8)))
    )
    assert entries(made) == [(Range(0, 80_000), "counted")]


def recalled(number: int, pieces: int) -> pb.RecalledLease:
    first = 10_000 * number
    held = [pb.Range(start=first + 2 * at, stop=first + 2 * at + 1) for at in range(pieces)]
    return pb.RecalledLease(lease_id=f"{5 + number}-x", range=pb.Range(start=first, stop=first + 10_000), held=held)


def test_leases_in_many_pieces_take_no_longer_than_they_are_many() -> None:
    state, _ = run(fresh(LARGE), e.Join("m", b"k" * 32, "m", "1"))
    began = time.process_time()
    found = tuple(translate.recalled(recalled(number, 1000)) for number in range(60))
    state, _ = run(state, e.Recall("m", found))
    assert time.process_time() - began < SECONDS
    assert state.ledger.pending("m") == 60_000
    with pytest.raises(UsageError, match="pieces is refused"):
        translate.recalled(recalled(0, 2000))


def test_what_was_dropped_of_nothing_leaves_no_line_and_reasons_are_short() -> None:
    state, lease = begun()
    empty = [pb.LeasedRange(), *parts("7-unknown", range(0, 4000, 2)), *parts(lease, range(2_000_000, 2_000_020, 2))]
    report = pb.RoundReport(round=0, digest=DIGEST, dropped_why="\x1b[2J" + "x" * 50_000, dropped=empty[:1500])
    state, made = run(state, told(report))
    assert entries(made) == []
    report.dropped.extend(parts(lease, range(1)))
    _, made = run(state, told(report))
    [entry] = [entry for item in made if isinstance(item, d.ReportFiled) for entry in item.entries]
    assert (entry.range, len(entry.why), "\x1b" in entry.why) == (Range(0, 1), 200, False)


@pytest.mark.parametrize("digest", ["a", "z" * 64, "a" * 200_000])
def test_a_digest_that_is_none_names_no_state(digest: str) -> None:
    state, _ = begun()
    state, _ = run(state, told(pb.RoundReport(round=0, digest=digest)))
    assert (state.reported, dict(state.votes)) == (0, {})
