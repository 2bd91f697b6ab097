"""What must hold after a chaos run: each broken invariant is seen, and named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.verdict import Done, Line, broken

A0 = Done(0, "a", 0, "d0", 4, 10, 10, 2)
B0 = Done(1, "b", 0, "d0", 6, 10, 10, 2)
A1 = Done(0, "a", 1, "d1", 5, 8, 18, 2)
B1 = Done(1, "b", 1, "d1", 3, 8, 18, 2)
DONE = (A0, B0, A1, B1)
LINES = (
    Line(0, "a", "counted", 4),
    Line(0, "b", "counted", 6),
    Line(1, "a", "counted", 5),
    Line(1, "b", "rejected", 3),
    Line(1, "a", "expired", 7),
)


def test_all_holds() -> None:
    assert broken(DONE, LINES, {"a": 9, "b": 6}) == []
    assert broken((A0, A1, B1), LINES, {}) == [], "who was killed before it said so may be missing"
    assert broken((), (), {}) == []


@pytest.mark.parametrize(
    ("done", "why"),
    [
        ((*DONE, A1), "a finished round 1 after round 1"),
        ((replace(A0, round=2), replace(A1, life=2, round=0)), "nobody finished rounds [1]"),
        ((A0, B0, A1, replace(B1, digest="other")), "round 1 has 2 states"),
        ((A0, B0, A1, replace(B1, global_samples=19)), "round 1 was not the same for all"),
        ((A0, B0, A1, replace(B1, samples=4)), "added 9 samples, but it was made of 8"),
        ((A0, B0, A1, replace(B1, samples=2)), "added 7 samples, but it was made of 8"),
        ((*DONE, replace(B1, life=3, name="c", samples=0)), "3 peers finished round 1 of 2 members"),
        ((A0, B0, *(replace(one, global_samples=28) for one in (A1, B1))), "after round 1 28 samples were applied"),
    ],
)
def test_what_peers_say_of_rounds(done: tuple[Done, ...], why: str) -> None:
    assert any(why in said for said in broken(done, LINES, {}))


@pytest.mark.parametrize(
    ("lines", "receipts", "why"),
    [
        ((*LINES, Line(1, "b", "counted", 4)), {}, "9 samples count for round 1, which was made of 8"),
        (LINES[1:], {}, "of 4 samples of a in round 0 the ledger knows 0"),
        (LINES, {"b": 7}, "b was told that 7 of its samples count, but the ledger counts 6"),
    ],
)
def test_what_the_ledger_says(lines: tuple[Line, ...], receipts: dict[str, int], why: str) -> None:
    assert any(why in said for said in broken(DONE, lines, receipts))
