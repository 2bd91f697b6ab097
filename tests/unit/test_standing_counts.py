"""What became of a peer's samples, told by several threads at the same time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from peer.standing import Standing
from swarm.proto import coordinator_pb2 as pb

TIMES = 300


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as Python lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def report() -> pb.RoundReport:
    return pb.RoundReport(counted=[pb.LeasedRange(lease_id="l", range=pb.Range(start=0, stop=3))])


def receipt(counted: bool = True, why: str = "") -> pb.Receipt:
    return pb.Receipt(round=4, range=pb.Range(start=0, stop=3), counted=counted, why=why)


def test_no_report_and_no_receipt_is_lost_between_threads(hasty: None) -> None:
    standing = Standing()

    def tell(_: int) -> None:
        for _ in range(TIMES):
            standing.reported(report())
            standing.answered(receipt())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, range(8)))
    assert (standing.unheard, standing.counted, standing.rounds) == (0, 8 * TIMES * 3, 8 * TIMES)


def test_what_was_rejected_says_why_and_a_dropped_round_is_none() -> None:
    standing = Standing()
    standing.reported(pb.RoundReport(dropped=report().counted, dropped_why="too late"))
    standing.answered(receipt(counted=False, why="no such lease of yours"))
    assert (standing.rounds, standing.unheard, standing.rejected) == (0, 0, 3)
    assert standing.why == "round 4: no such lease of yours"


def test_a_restored_coordinator_counts_anew() -> None:
    standing = Standing(counted=50, before=10)
    standing.recounted(40)
    assert standing.counted == 30
