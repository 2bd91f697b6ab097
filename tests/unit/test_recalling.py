"""A coordinator that is restored from a copy hears from its members what the copy lacks; nothing counts twice."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import events as e
from coordinator.invariants import of_state
from coordinator.ledger import CLOSED_KEPT, Claim, Recalled
from coordinator.state import State
from coordinator.tick import tick
from peer.outbox import LEASE, REPORT, VOID, Item
from peer.recall import recalled
from swarm.checks import failed
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Range
from tests.histories import fresh, report

NOW = 1000.0


def run(state: State, *events: e.Event, now: float = NOW) -> tuple[State, list[d.Decision]]:
    return tick(state, events, now, 7)


def members(*who: str) -> State:
    return run(fresh(), *(e.Join(name, name.encode() * 32, name, "1") for name in who))[0]


def lent(made: Iterable[d.Decision]) -> Recalled:
    [lease] = [item.lease for item in made if isinstance(item, d.LeaseGranted)]
    return Recalled(lease.id, lease.range, (lease.range,))


def again(state: State, who: str, *leases: Recalled) -> tuple[State, list[d.LeasesRecalled]]:
    state, made = run(state, e.Recall(who, leases))
    assert failed(of_state(state)) == []
    return state, [item for item in made if isinstance(item, d.LeasesRecalled)]


def test_a_lease_that_the_copy_does_not_know_is_its_members_again() -> None:
    copy = members("a", "b")
    _, made = run(copy, e.TakeLease("a", 8))
    lease = lent(made)
    state, [told] = again(copy, "a", lease)
    assert told.samples == 8
    assert state.ledger.held_by("a")[0].left == (lease.range,)
    assert again(state, "a", lease)[1] == []
    _, made = run(state, e.Report("a", (report("k", 3, (Claim(lease.lease, lease.range),)),)))
    assert [item.receipts[0].counted for item in made if isinstance(item, d.ReportFiled)] == [True]
    _, made = run(state, e.TakeLease("b", 8))
    assert lent(made).range.start == lease.range.stop


def test_what_is_not_free_stays_where_it_is_and_what_is_not_held_is_listed() -> None:
    copy = members("a", "b")
    copy, made = run(copy, e.TakeLease("b", 4))
    assert lent(made).range == Range(0, 4)
    state, [told] = again(copy, "a", Recalled("9-x", Range(0, 12), (Range(2, 10),)))
    assert told.leases[0].left == (Range(4, 10),)
    assert [(entry.range, entry.state) for entry in told.entries] == [
        (Range(0, 4), "expired"),
        (Range(10, 12), "expired"),
    ]
    assert state.ledger.next_number == 10


@pytest.mark.parametrize(
    "claim",
    [
        Recalled("no-number", Range(0, 8), (Range(0, 8),)),
        Recalled(f"{CLOSED_KEPT + 99}-x", Range(0, 8), (Range(0, 8),)),
        Recalled("5-x", Range(40, 60), (Range(40, 60),)),  # in two epochs
        Recalled("5-x", Range(8, 8), ()),
        Recalled("5-x", Range(0, 8), (Range(20, 30),)),
    ],
)
def test_what_no_coordinator_can_have_lent_is_not_recalled(claim: Recalled) -> None:
    state = members("a")
    assert again(state, "a", claim)[0].ledger.free == state.ledger.free


def test_the_same_number_is_given_once() -> None:
    state, _ = again(members("a", "b"), "a", Recalled("5-x", Range(0, 8), (Range(0, 8),)))
    assert again(state, "b", Recalled("5-y", Range(8, 16), (Range(8, 16),)))[1] == []


def test_what_was_given_back_after_the_copy_counts_for_who_got_it_then() -> None:
    copy, made = run(members("a", "b"), e.TakeLease("a", 8))
    first = lent(made)
    later, _ = run(copy, e.Report("a", (report("k", 0, (Claim(first.lease, Range(0, 4)),), dropped="late"),)))
    _, made = run(later, e.TakeLease("b", 8))
    second = lent(made)
    assert second.range == Range(0, 4)
    state, _ = again(copy, "b", second)  # a still has them in the copy
    state, [told] = again(state, "a", replace(first, held=(Range(4, 8),)))
    assert [(entry.range, entry.state) for entry in told.entries] == [(Range(0, 4), "expired")]
    state, [_] = again(state, "b", second)
    assert state.ledger.held_by("b")[0].left == (Range(0, 4),)


def test_nothing_is_lent_until_members_had_time_to_speak() -> None:
    state, _ = run(members("a"), e.Resumed(restored=True))
    _, [denied] = run(state, e.TakeLease("a", 8))
    assert "restored from a copy; for 30 s more" in getattr(denied, "why", "")
    state, _ = run(state, e.Heartbeat("a", state.members["a"].pulse), now=NOW + 29)
    _, made = run(state, e.TakeLease("a", 8), now=NOW + 30)
    assert lent(made).range == Range(0, 8)


@given(st.integers(0, 1 << 32))
def test_whatever_happened_after_the_copy_counts_once_and_for_whom_it_counted(seed: int) -> None:
    """Three members lease and report; at some moment a copy is made; at another the copy takes over."""
    rng = random.Random(seed)
    state, copied = members("a", "b", "c"), members("a", "b", "c")
    leases: dict[str, list[Recalled]] = {"a": [], "b": [], "c": []}
    said: list[e.Report] = []
    for number in range(rng.randrange(4, 40)):
        who = rng.choice("abc")
        if number == 3:
            copied = state
        if not leases[who] or rng.random() < 0.5:
            state, made = run(state, e.TakeLease(who, rng.randrange(1, 12)))
            leases[who].append(lent(made))
            continue
        lease = rng.choice(leases[who])
        start = rng.randrange(*lease.range)
        part = Claim(lease.lease, Range(start, rng.randrange(start, lease.range.stop) + 1))
        said.append(e.Report(who, (report(f"k{number}", number, (part,)),)))
        state, _ = run(state, said[-1])
    after, _ = run(copied, e.Resumed(restored=True))
    for who in rng.sample("abc", 3):
        after, _ = run(after, e.Recall(who, tuple(leases[who])))
    for one in said:
        known = {item.key: () for item in one.reports if item.key in {"k0", "k1", "k2"}}
        after, _ = run(after, replace(one, known=known))
    assert {who: after.members[who].counted for who in "abc"} == {who: state.members[who].counted for who in "abc"}
    assert after.ledger.free == state.ledger.free
    assert failed(of_state(after)) == []


def test_a_peer_names_what_it_works_on_and_what_was_counted_of_the_rest() -> None:
    def lease(id_: str, start: int, stop: int, kind: str) -> Item:
        body = pb.LeasedRange(lease_id=id_, range=pb.Range(start=start, stop=stop)).SerializeToString()
        return Item(0, kind, body)

    part = pb.LeasedRange(lease_id="1-x", range=pb.Range(start=2, stop=4))
    late = pb.LeasedRange(lease_id="3-x", range=pb.Range(start=18, stop=20))
    items = [
        lease("1-x", 0, 8, VOID),
        lease("2-x", 8, 16, VOID),
        lease("3-x", 16, 24, LEASE),
        Item(0, REPORT, pb.RoundReport(counted=[part], dropped=[late]).SerializeToString()),
    ]
    named = {lease.lease_id: [(part.start, part.stop) for part in lease.held] for lease in recalled(items)}
    assert named == {"1-x": [(2, 4)], "2-x": [], "3-x": [(16, 18), (20, 24)]}
