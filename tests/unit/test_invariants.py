"""What must hold of a run: no history breaks it, and each kind of damage is found by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from immutables import Map

from coordinator import decisions as d
from coordinator import invariants
from coordinator.invariants import Found, Named
from coordinator.ledger import Entry, Return
from coordinator.records import Filed, Metrics, Trust
from coordinator.rounds import Poll
from coordinator.state import State
from swarm.checks import Check, Level, failed
from swarm.ranges import Range
from tests.histories import START, History, fresh

Broken = Callable[[State, list[Entry]], tuple[State, list[Entry]]]


class Books:
    """What a store would keep of a history: all entries and all reports."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.filed: list[Filed] = []

    def write(self, made: list[d.Decision]) -> None:
        for item in made:
            match item:
                case d.LeaseExpired():
                    self.entries += item.entries
                case d.ReportFiled():
                    self.entries += item.entries
                    self.filed.append(Filed(item.report.key, item.member, item.report.round))
                case d.WentBack():
                    self.entries = [
                        replace(e, state="expired", why=item.why)
                        if e.state == "counted" and e.round >= item.back.round
                        else e
                        for e in self.entries
                    ]


def played(seed: int, length: int) -> tuple[State, Books]:
    history, books = History(seed), Books()
    for _, made, _, _ in history.steps(length):
        books.write(made)
    return history.state, books


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 120))
def test_no_history_leads_to_a_failed_invariant(seed: int, length: int) -> None:
    """Any interleaving of join, leave, crash, lease, report, late report, restart, going back."""
    books = Books()
    for _, made, after, _ in History(seed).steps(length):
        books.write(made)
        assert failed(invariants.of_state(after)) == []
    assert failed(invariants.of_ledger(after, books.entries)) == []
    assert failed(invariants.reports(books.filed, {report.key for report in books.filed}, after.votes)) == []


def test_a_quiet_run_has_no_finding_at_all() -> None:
    assert invariants.of_state(fresh()) == []
    assert invariants.of_ledger(fresh(), []) == []


# ── damage ───────────────────────────────────────────────────────────────────────────────────────


def with_ledger(state: State, **changes: Any) -> State:
    return replace(state, ledger=replace(state.ledger, **changes))


def last(entries: list[Entry], state: str = "counted") -> int:
    return max(number for number, entry in enumerate(entries) if entry.state == state)


def changed(entries: list[Entry], number: int, **changes: Any) -> list[Entry]:
    return [*entries[:number], replace(entries[number], **changes), *entries[number + 1 :]]


def counted_twice(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    return state, [*entries, entries[last(entries)]]


def a_lost_entry(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    number = last(entries)
    return state, entries[:number] + entries[number + 1 :]


def free_and_counted(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    return with_ledger(state, free=(Range(0, 1), *state.ledger.free)), entries


def neither_free_nor_counted(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    *rest, end = state.ledger.free
    return with_ledger(state, free=(*rest, Range(end.start + 3, end.stop))), entries


def of_no_lease(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    return state, changed(entries, last(entries), lease="77-nobody")


def outside_its_lease(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    number = last(entries)
    start, stop = entries[number].range
    return state, changed(entries, number, range=Range(start, stop + 100))


def of_anothers_lease(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    number = last(entries)
    other = next(who for who in state.members if who != entries[number].member)
    return state, changed(entries, number, member=other)


def counted_before_a_return(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    return with_ledger(state, returns=(Return(0, state.ledger.next_number),)), entries


def a_return_from_the_future(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    return with_ledger(state, returns=(Return(39, state.ledger.next_number + 5),)), entries


def a_lease_number_to_come(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    return with_ledger(state, next_number=1), entries


def a_lease_of_nobody(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    who = next(iter(state.ledger.closed.values())).member
    return replace(state, members=state.members.delete(who)), entries


def two_leases_of_one_number(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    lease = next(iter(state.ledger.closed.values()))
    return with_ledger(state, leases=state.ledger.leases.set("again", replace(lease, id="again"))), entries


def too_much_credit(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    who, member = next(iter(state.members.items()))
    return replace(state, members=state.members.set(who, replace(member, counted=member.counted + 1))), entries


def a_round_too_many(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    vote = next(iter(state.votes.values()))
    return replace(state, votes=state.votes.set(40, vote)), entries


def more_clean_checks_than_were_made(state: State, entries: list[Entry]) -> tuple[State, list[Entry]]:
    return replace(state, trust=Map({"m0": Trust("m0", clean=3, made=2)})), entries


DAMAGES: list[tuple[Broken, str, str]] = [
    (counted_twice, "positions", "are counted in round"),
    (a_lost_entry, "credit", "but the ledger says"),
    (a_lost_entry, "positions", "neither free nor lent nor counted"),
    (free_and_counted, "positions", "0–0 are"),
    (neither_free_nor_counted, "positions", "neither free nor lent nor counted"),
    (of_no_lease, "leases", "which was never given"),
    (outside_its_lease, "leases", "lie outside lease"),
    (of_anothers_lease, "leases", "belong to a lease of"),
    (counted_before_a_return, "leases", "were undone when the run went back to round 0"),
    (a_return_from_the_future, "leases", "went back to round 39 at a lease that was not yet given"),
    (a_lease_number_to_come, "leases", "a number that is still to be given"),
    (a_lease_of_nobody, "leases", "who is no member"),
    (two_leases_of_one_number, "leases", "2 leases have the number"),
    (too_much_credit, "credit", "but the ledger says"),
    (a_round_too_many, "rounds", "rounds that this run does not have: 40"),
    (more_clean_checks_than_were_made, "standing", "m0: 3 of 2 checks clean"),
]


@pytest.mark.parametrize(("damage", "name", "says"), DAMAGES, ids=lambda item: getattr(item, "__name__", ""))
def test_each_damage_is_found_by_name(damage: Broken, name: str, says: str) -> None:
    state, books = played(seed=11, length=120)
    assert failed(invariants.of_ledger(state, books.entries)) == []
    found = failed(invariants.of_ledger(*damage(state, books.entries)))
    assert [check for check in found if check.name == name and says in check.says and check.remedy], found


def warnings(checks: list[Check]) -> list[tuple[str, str]]:
    return [(check.name, check.says) for check in checks if check.level is Level.WARNING]


def a_vote(state: State) -> Metrics:
    return next(iter(next(iter(state.votes.values())).votes.values()))


def test_differing_digests_and_missing_rounds_are_warnings_that_name_them() -> None:
    state, _ = played(seed=11, length=120)
    vote = a_vote(state)
    cast = Poll()
    for who, digest in (("m0", "a" * 64), ("m1", "a" * 64), ("m2", "b")):
        cast = cast.plus(who, replace(vote, digest=digest))
    state = replace(fresh(), votes=Map({0: cast, 3: cast}), reached=4)
    found = invariants.of_state(state)
    assert failed(found) == []
    assert warnings(found) == [
        ("rounds", "nobody reported round 1–2, though later rounds are reported"),
        ("digests", "round 0: most name aaaaaaaaaaaa, but m2 b"),
        ("digests", "round 3: most name aaaaaaaaaaaa, but m2 b"),
    ]
    state = replace(state, checkpoints={0: START, 1: replace(START, round=1, digest="c")})
    assert any("the checkpoint of round 1 is another state" in says for _, says in warnings(invariants.of_state(state)))


def test_who_contributed_and_named_no_state_is_listed() -> None:
    state, books = played(seed=12, length=120)
    silent = replace(state, votes=Map({number: Poll() for number in state.votes}))
    found = warnings(invariants.of_ledger(silent, books.entries))
    assert [says for name, says in found if name == "digests" and "named no state" in says]


def test_reports_are_filed_once_and_carry_what_rests_on_them() -> None:
    filed = [Filed("k1", "m0", 0), Filed("k2", "m1", 0)]
    vote = History(11)
    for _ in vote.steps(60):
        pass
    some = Poll().plus("m0", a_vote(vote.state))
    assert list(invariants.reports(filed, {"k1"}, Map({0: some}))) == []
    found = [check.says for check in invariants.reports([*filed, filed[0]], {"k9"}, Map({1: some}))]
    assert found == [
        "the report k1 was filed 2 times",
        "the ledger rests on the report k9, which was never filed",
        "m0 names a state of round 1, but never reported it",
    ]


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ({}, "is missing"),
        ({"s" * 64: Found("s" * 64, 9, "d")}, "has 9 bytes instead of 10"),
        ({"s" * 64: Found("t" * 64, 10, "d")}, "its SHA-256 is another"),
        ({"s" * 64: Found("s" * 64, 10, "e")}, "does not hold the state that it was accepted as"),
        ({"s" * 64: Found("s" * 64, 10, "d")}, ""),
    ],
)
def test_a_named_file_is_there_with_its_size_bytes_and_state(there: dict[str, Found], why: str) -> None:
    wanted = Named("the checkpoint of round 3", "s" * 64, 10, "d")
    found = list(invariants.files("checkpoints", [wanted], there, "Restore it."))
    assert [why in check.says for check in found] == ([True] if why else [])


def test_a_blob_with_another_name_is_found() -> None:
    found = list(invariants.misnamed({"a": Found("a", 1), "b": Found("c", 1)}, "Restore it."))
    assert [(check.name, check.says[:1]) for check in found] == [("blobs", "b")]
