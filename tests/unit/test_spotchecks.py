"""Who watches whom, how often, and what the coordinator makes of the answers."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import events as e
from coordinator import spotchecks, trust
from coordinator.invites import hashed
from coordinator.ledger import Claim
from coordinator.records import IssuedInvite, Member, Metrics, Pulse, RoundReport, Trust
from coordinator.spotchecks import RARELY, RUNS_OUT, TRUSTED, control, rate
from coordinator.state import State
from coordinator.tick import tick
from coordinator.watches import SpotCheck, SpotChecked
from swarm.errors import NotFoundError
from swarm.identity import member_id
from swarm.passes import Role
from swarm.ranges import Range, total
from tests.histories import TERMS, fresh

NOW = 1_700_000_000.0
KEYS = {name: name[:1].encode() * 32 for name in ("anna", "ben", "vera", "zoe")}
IDS = {name: member_id(key) for name, key in KEYS.items()}
INVITES = {role: IssuedInvite(hashed(role), role, NOW) for role in Role}


def run(state: State, *events: e.Event, now: float = NOW, seed: int = 1) -> tuple[State, list[d.Decision]]:
    return tick(state, events, now, seed)


def join(name: str, role: Role = Role.VOLUNTEER, seat: int = 0) -> e.Join:
    member = member_id(KEYS[name], seat)
    return e.Join(member, KEYS[name], name, "1", invite=INVITES[role].id, session=name)


def beat(name: str) -> e.Heartbeat:
    return e.Heartbeat(IDS[name], Pulse(), name)


def swarm(*more: e.Event) -> State:
    """A run in which vera is a validator and anna a volunteer."""
    made = [e.MakeInvite(invite) for invite in INVITES.values()]
    return run(fresh(TERMS), *made, join("vera", Role.VALIDATOR), join("anna"), *more)[0]


def watching(state: State, name: str = "vera") -> SpotCheck | None:
    return spotchecks.wanted(state, IDS[name])


def trained(state: State, name: str, round_: int = 0, samples: int = 8, parts: int = 1) -> State:
    """A member took a lease, and it counted in a round, told in so many parts."""
    state, [granted] = run(state, e.TakeLease(IDS[name], samples, name))
    assert isinstance(granted, d.LeaseGranted)
    lease, size = granted.lease, len(granted.lease.range) // parts
    claims = [
        Claim(lease.id, Range(lease.range.start + n * size, lease.range.start + (n + 1) * size)) for n in range(parts)
    ]
    metrics = Metrics(f"d{round_}", samples, samples, 2, samples, 1.0, 1, 1, 1, 1, 1)
    report = RoundReport(f"{name}{round_}{lease.id}", round_, metrics, tuple(claims))
    return run(state, e.Report(IDS[name], (report,), session=name))[0]


def told(state: State, name: str, passed: bool | None = True, round_: int = 0, check: str = "") -> e.Checked:
    known = watching(state, name)
    return e.Checked(IDS[name], check or (known.id if known else ""), round_, passed, "as measured", name)


# ── who ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_validator_watches_a_volunteer_and_no_volunteer_watches() -> None:
    state, _ = run(swarm(), beat("vera"), beat("anna"))
    check = watching(state)
    assert check
    assert (check.member, check.since, check.deadline) == (IDS["anna"], 0, NOW + RUNS_OUT)
    assert watching(state, "anna") is None


def test_a_maintainer_checks_too_and_so_does_the_coordinators_own_machine() -> None:
    own = replace(join("zoe"), invite="none-of-the-table")
    state, _ = run(swarm(join("ben", Role.MAINTAINER), own), beat("ben"), beat("zoe"))
    assert watching(state, "ben")
    assert watching(state, "zoe")


@given(st.integers(0, 1 << 32))
def test_nobody_checks_a_seat_of_its_own_key(seed: int) -> None:
    state = swarm(join("vera", Role.VALIDATOR, seat=1), join("ben", Role.VALIDATOR))
    state, _ = run(state, beat("vera"), beat("ben"), seed=seed)
    pairs = [(name, check.member) for name in ("vera", "ben") if (check := watching(state, name))]
    assert len(pairs) == 2
    assert all(state.members[member].key != IDS[name] for name, member in pairs)
    assert len({member for _, member in pairs}) == 2, "two watch the same"


@given(st.integers(0, 1 << 32))
def test_who_only_says_that_it_is_there_is_not_watched_in_place_of_those_who_train(seed: int) -> None:
    state = trained(trained(swarm(join("ben"), join("zoe")), "anna"), "vera")
    state, _ = run(state, beat("vera"), seed=seed)
    assert (check := watching(state))
    assert check.member == IDS["anna"]


@given(st.integers(0, 1 << 32))
def test_the_draw_follows_from_the_seed(seed: int) -> None:
    state = swarm(join("ben"), join("zoe"))
    assert run(state, beat("vera"), seed=seed)[0].watches == run(state, beat("vera"), seed=seed)[0].watches


# ── how often ────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 10_000))
def test_a_key_is_always_checked_until_it_was_clean_often_enough(clean: int) -> None:
    assert rate(clean) == (1.0 if clean < TRUSTED else 1 / RARELY)


@pytest.mark.parametrize(("clean", "expected"), [(0, 1.0), (TRUSTED - 1, 1.0), (TRUSTED, 0.1), (500, 0.1)])
def test_the_draws_keep_the_rate(clean: int, expected: float) -> None:
    state = swarm()
    state = replace(state, trust=state.trust.set(IDS["anna"], Trust(IDS["anna"], clean=clean)))
    drawn = sum(watching(run(state, beat("vera"), seed=seed)[0]) is not None for seed in range(2000))
    assert drawn / 2000 == pytest.approx(expected, abs=0.03)


def test_it_is_drawn_once_in_a_round_however_often_a_checker_is_heard() -> None:
    state = swarm()
    state = replace(state, trust=state.trust.set(IDS["anna"], Trust(IDS["anna"], clean=TRUSTED)))
    seed = next(seed for seed in range(99) if not watching(run(state, beat("vera"), seed=seed)[0]))
    state, _ = run(state, beat("vera"), seed=seed)
    for again in range(200):
        state, _ = run(state, beat("vera"), seed=again)
    assert watching(state) is None
    state = trained(trained(state, "anna"), "vera")
    assert any(watching(run(state, beat("vera"), seed=again)[0]) for again in range(200))


# ── how it ends ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("passed", "clean"), [(True, 1), (False, 0)])
def test_an_answer_is_filed_with_its_reason_and_counts_for_the_key(passed: bool, clean: int) -> None:
    state, _ = run(swarm(), beat("vera"))
    state = trained(state, "anna")
    state, [made, *_] = run(state, told(state, "vera", passed))
    assert isinstance(made, SpotChecked)
    word = "passed" if passed else "failed"
    assert str(made) == f"The spot check of anna ({IDS['anna']}) in round 0 by vera {word}: as measured."
    assert (trust.of(state, IDS["anna"]).clean, trust.of(state, IDS["anna"]).made) == (clean, 1)
    assert watching(state) is None


def test_one_that_was_given_up_says_nothing_of_the_key() -> None:
    state, _ = run(swarm(), beat("vera"))
    state, [made] = run(state, told(state, "vera", None))
    assert "could not be finished" in str(made)
    assert not state.trust


def test_only_who_was_asked_answers_once_and_in_time() -> None:
    state = swarm(join("ben", Role.VALIDATOR))
    state, _ = run(state, beat("vera"), beat("ben"))
    state = trained(trained(state, "anna"), "ben")
    for wrong in (
        told(state, "vera", check="made up"),
        replace(told(state, "vera"), member=IDS["ben"], session="ben"),
        replace(told(state, "vera"), member=IDS["anna"], session="anna"),
        replace(told(state, "vera"), session="another"),
        replace(told(state, "vera"), round=5),
    ):
        after, [refused] = run(state, wrong)
        assert isinstance(refused, d.Refused)
        assert after == state
    answer = told(state, "vera")
    late = {name: replace(member, last_seen=NOW + RUNS_OUT) for name, member in state.members.items()}
    _, [refused, *_] = run(state.with_members(late.values()), answer, now=NOW + RUNS_OUT)
    assert isinstance(refused, d.Refused)
    state, _ = run(state, answer)
    _, [refused] = run(state, answer)
    assert isinstance(refused, d.Refused)


def test_a_round_from_before_the_check_is_none_of_it() -> None:
    state = trained(trained(swarm(), "anna"), "vera")
    state, _ = run(state, beat("vera"))
    check = watching(state)
    assert check
    assert check.since == 1
    with pytest.raises(NotFoundError):
        spotchecks.subject(state, IDS["vera"], check.id, 0, NOW)
    _, [refused] = run(state, told(state, "vera", round_=0))
    assert isinstance(refused, d.Refused)


def test_checks_that_never_come_back_run_out_and_so_do_those_of_who_left() -> None:
    state, _ = run(swarm(join("ben")), beat("vera"))
    check = watching(state)
    assert check
    name = next(name for name in ("anna", "ben") if IDS[name] == check.member)
    left, _ = run(state, e.Leave(check.member, "tired", name))
    for here in left.live:
        left = trained(left, here.name)  # the next round
    again = watching(run(left, beat("vera"))[0])
    assert again
    assert again.member != check.member
    state = trained(trained(state, "anna"), "ben")
    state = state.with_members([replace(member, last_seen=NOW + RUNS_OUT) for member in state.live])
    later = watching(run(state, beat("vera"), now=NOW + RUNS_OUT)[0])
    assert later
    assert later.id != check.id


# ── what is done again ───────────────────────────────────────────────────────────────────────────


def test_what_counted_is_named_in_the_order_of_the_leases_and_as_much_beside_it() -> None:
    state, _ = run(swarm(), beat("vera"))
    check = watching(state)
    assert check
    assert not spotchecks.subject(state, IDS["vera"], check.id, 0, NOW).own
    state = trained(trained(state, "anna", parts=2), "anna", parts=4)
    found = spotchecks.subject(state, IDS["vera"], check.id, 0, NOW)
    assert [part.start for part in found.own] == sorted(part.start for part in found.own)
    assert total(found.own) == total(found.control) == 16
    assert found == spotchecks.subject(state, IDS["vera"], check.id, 0, NOW), "it follows from the check"


RANGES = st.lists(st.integers(0, 40), min_size=2, max_size=8, unique=True).map(
    lambda cuts: [Range(*pair) for pair in zip(*[iter(sorted(cuts))] * 2, strict=False)]
)


@given(RANGES, st.integers(0, 3), st.integers(0, 1 << 32))
def test_the_control_is_as_large_and_of_the_same_epoch_and_shares_nothing(
    own: list[Range], epoch: int, seed: int
) -> None:
    begin = 50 * epoch
    moved = [Range(begin + start, begin + stop) for start, stop in own]
    found = control(moved, 50, random.Random(seed))
    if 2 * total(own) > 50:
        assert found == []
        return
    assert total(found) == total(own)
    assert all(begin <= part.start < part.stop <= begin + 50 for part in found)
    assert not any(part.overlap(mine) for part in found for mine in moved)


def test_a_member_that_is_no_checker_has_no_watch() -> None:
    state = swarm()
    anna: Member = state.members[IDS["anna"]]
    assert not spotchecks.checks(state, anna)
    assert spotchecks.assigned(state, anna.id, NOW, "1") == state
