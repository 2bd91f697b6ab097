"""The coordinator's rules (docs/architecture.md): one example for each, and laws over random histories."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import events as e
from coordinator.ledger import Claim
from coordinator.probation import Company
from coordinator.records import Checkpoint, Pulse
from coordinator.state import State
from coordinator.tempo import Tempo
from coordinator.tick import tick
from swarm.ranges import Range, subtract, total
from tests.histories import History, assert_every_position_in_one_place, counted, fresh, report


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 120))
def test_every_position_is_counted_once_or_visibly_free_again(seed: int, length: int) -> None:
    """Any interleaving of join, leave, crash, lease, report, late report, restart, going back."""
    held: list[Range] = []
    for _, made, after, _ in History(seed).steps(length):
        for item in made:  # in their order: what a report counts may be undone by what it tells
            if isinstance(item, d.WentBack):
                for entry in item.undone:
                    held = subtract(held, entry.range)
            held += counted([item])
        assert_every_position_in_one_place(after.ledger, held)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_rounds_never_go_back_unsaid_and_every_refusal_has_a_remedy(seed: int) -> None:
    for before, made, after, now in History(seed).steps(80):
        went_back = any(isinstance(item, d.WentBack) for item in made)
        assert after.round >= before.round or went_back
        for item in made:
            assert not isinstance(item, d.Refused) or (item.what and item.remedy)
            assert not isinstance(item, d.LeaseGranted | d.ReportFiled) or str(item) is not None
        for lease in after.ledger.leases.values():
            assert lease.deadline > now


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_kept_for_speed_is_what_the_state_says(seed: int) -> None:
    for _, _, after, now in History(seed).steps(80):
        leases, live = after.ledger.leases.values(), after.live
        assert after.tempo == Tempo.of(member.pulse.samples_per_second for member in live)
        company = {key: there for key, there in after.company.items() if there.live}
        assert company == {key: company_of(after, key) for key in {member.invite for member in live}}
        silences = [member.last_seen + after.terms.patience_seconds * (1 if member.heard else 2) for member in live]
        assert now <= after.due <= min([*silences, *(lease.deadline for lease in leases)], default=math.inf)
        held = [(lease.member, lease.id) for lease in sorted(leases, key=lambda lease: lease.number)]
        assert sorted(held) == sorted((who, key) for who, mine in after.ledger.held.items() for key in mine)
        for poll in after.votes.values():
            assert Counter(vote.digest for vote in poll.votes.values()) == dict(poll.named)


def company_of(state: State, invite: str) -> Company:
    """Those with one invite, counted."""
    here = [member for member in state.live if member.invite == invite]
    return Company(len(here), sum(not state.probation(member) for member in here))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_time_and_seed_decide_everything(seed: int) -> None:
    one = [(made, after) for _, made, after, _ in History(seed).steps(40)]
    two = [(made, after) for _, made, after, _ in History(seed).steps(40)]
    assert one == two


def run(state: State, *events: e.Event, now: float = 0.0) -> tuple[State, list[d.Decision]]:
    return tick(state, events, now, seed=1)


def joined(*names: str) -> State:
    return run(fresh(), *(e.Join(name, b"k" * 32, name, "1") for name in names))[0]


def lease(state: State, who: str, wish: int, now: float = 0.0) -> tuple[State, d.LeaseGranted]:
    state, made = run(state, e.TakeLease(who, wish), now=now)
    return state, next(item for item in made if isinstance(item, d.LeaseGranted))


def test_leases_are_contiguous_lowest_first_and_end_with_the_epoch() -> None:
    state, one = lease(joined("a"), "a", 20)
    state, two = lease(state, "a", 1000)
    assert (one.lease.range, two.lease.range) == (Range(0, 20), Range(20, 35))  # half of the 30 that are left
    state, three = lease(state, "a", 1000)
    state, four = lease(state, "a", 1000)
    assert (three.lease.range, four.lease.range) == (Range(35, 43), Range(43, 50))
    assert lease(state, "a", 10)[1].lease.range == Range(50, 60)


def test_a_heartbeat_extends_leases_and_silence_ends_them() -> None:
    state, granted = lease(joined("a", "b"), "a", 10)
    state, _ = run(state, e.Heartbeat("a", Pulse()), e.Heartbeat("b", Pulse()), now=14.0)
    assert state.ledger.leases[granted.lease.id].deadline == 74.0
    state, _ = run(state, e.Heartbeat("b", Pulse()), now=28.0)
    state, made = run(state, now=29.5)
    assert str(made[0]) == "a (a) left: no sign of life for 16 s."
    assert state.ledger.free[0] == Range(0, 1 << 62)
    state, made = run(state, e.TakeLease("a", 1), now=29.6)
    assert made == [d.Refused("This membership has ended, or was never one.", "Join again.")]


def test_a_report_counts_what_the_lease_holds_and_says_what_not() -> None:
    state, granted = lease(joined("a", "b"), "a", 10)
    claim = Claim(granted.lease.id, Range(0, 4))
    state, made = run(state, e.Report("a", (report("k", 0, (claim,)),)))
    assert [(r.range, r.counted) for r in made[0].receipts] == [(Range(0, 4), True)]  # type: ignore[union-attr]
    state, made = run(state, e.Report("a", (report("k2", 1, (claim,)),)))
    assert [(r.counted, r.why) for r in made[0].receipts] == [(False, "already counted")]  # type: ignore[union-attr]
    state, made = run(state, e.Report("b", (report("k3", 1, (claim,)),)))
    assert made[0].receipts[0].why == "no such lease of yours"  # type: ignore[union-attr]


def test_late_but_still_free_counts_and_leased_again_does_not() -> None:
    state, granted = lease(joined("a", "b"), "a", 10)
    state, _ = run(state, e.Heartbeat("a", Pulse()), e.Heartbeat("b", Pulse()), now=10.0)
    state, _ = run(state, e.Leave("a", "night"), now=11.0)
    state, _ = run(state, e.Join("a", b"k" * 32, "a", "1"), now=12.0)
    state, again = lease(state, "b", 5, now=12.5)
    claim = Claim(granted.lease.id, Range(0, 10))
    state, made = run(state, e.Report("a", (report("k", 0, (claim,)),)), now=13.0)
    receipts = {(r.range, r.counted, r.why) for r in made[0].receipts}  # type: ignore[union-attr]
    assert again.lease.range == Range(0, 5)
    assert receipts == {(Range(5, 10), True, "late, but still free"), (Range(0, 5), False, "leased again to b")}


def test_dropped_samples_are_free_again_and_listed_with_the_peers_reason() -> None:
    state, granted = lease(joined("a"), "a", 10)
    claim = Claim(granted.lease.id, Range(0, 6))
    state, made = run(state, e.Report("a", (report("k", 0, (claim,), dropped="late by 4 s"),)))
    assert [(r.counted, r.why) for r in made[0].receipts] == [(False, "late by 4 s")]  # type: ignore[union-attr]
    assert state.ledger.free[0] == Range(0, 6)
    assert state.members["a"].rejected == 6


def test_nothing_counts_for_a_round_that_the_run_does_not_have() -> None:
    state, granted = lease(joined("a"), "a", 10)
    said = report("k", state.terms.total_rounds, (Claim(granted.lease.id, granted.lease.range),))
    state, made = run(state, e.Report("a", (said,)))
    assert isinstance(made[0], d.ReportFiled)
    [receipt] = made[0].receipts
    assert not receipt.counted
    assert receipt.why == f"the run ends with its {state.terms.total_rounds} rounds"


def test_a_report_that_names_no_state_counts_nothing() -> None:
    state, granted = lease(joined("a"), "a", 10)
    said = report("k", 0, (Claim(granted.lease.id, Range(0, 6)),))
    said = replace(said, metrics=replace(said.metrics, digest=""))
    state, made = run(state, e.Report("a", (said,)))
    assert [(r.counted, r.why) for r in made[0].receipts] == [  # type: ignore[union-attr]
        (False, "the report names no state that they are in")
    ]
    assert (state.round, state.ledger.free[0]) == (0, Range(0, 6))


def test_a_restart_gives_everybody_the_full_time_again() -> None:
    state, granted = lease(joined("a"), "a", 10)
    state, made = run(state, e.Resumed(), now=5000.0)
    assert not made
    assert state.members["a"].live
    assert state.ledger.leases[granted.lease.id].deadline == 5060.0


def test_the_run_goes_back_when_nobody_holds_the_newest_state() -> None:
    state, granted = lease(joined("a"), "a", 10)
    claim = Claim(granted.lease.id, Range(0, 10))
    state, _ = run(state, e.Report("a", (report("k", 0, (claim,)), report("k2", 1, ()))))
    assert state.round == 2
    state, _ = run(state, e.Leave("a", "crash"), e.Join("b", b"b" * 32, "b", "1"))
    state, made = run(state, e.TakeLease("b", 4))
    assert str(made[0]).startswith("The run went back from round 2 to the state of round 0")
    assert (state.round, state.global_samples, state.members["a"].counted) == (0, 0, 0)
    assert made[1].lease.range == Range(0, 4)  # type: ignore[union-attr]
    state, _ = run(state, e.Join("a", b"k" * 32, "a", "1"))
    state, made = run(state, e.Report("a", (report("late", 1, (claim,)),)))
    assert made[0].receipts[0].why == "the run went back to round 0"  # type: ignore[union-attr]


def test_a_member_that_lost_its_line_but_not_its_state_keeps_the_run_where_it_is() -> None:
    state, granted = lease(joined("a"), "a", 10)
    claim = Claim(granted.lease.id, Range(0, 10))
    state, _ = run(state, e.Report("a", (report("k", 0, (claim,)),)))
    state, _ = run(state, now=60.0)
    assert not state.members["a"].live
    state, _ = run(state, e.Join("a", b"k" * 32, "a", "1", round=5), now=61.0)
    state, made = run(state, e.TakeLease("a", 4), now=61.0)
    assert isinstance(made[0], d.LeaseGranted)
    assert state.round == 1


def test_checkpoints_are_wanted_once_and_only_with_the_majoritys_digest() -> None:
    state = joined("a", "b", "c")
    for who, digest in (("a", "good"), ("b", "good"), ("c", "bad")):
        state, _ = run(state, e.Report(who, (report(f"k{who}", 0, (), digest),)))
    liar, honest = Checkpoint(1, "bad", "1" * 64, 9, 8), Checkpoint(1, "good", "2" * 64, 9, 8)
    state, made = run(state, e.OfferCheckpoint("c", liar))
    assert made[0].why == "most reports of that round name another digest"  # type: ignore[union-attr]
    state, made = run(state, e.OfferCheckpoint("a", honest))
    assert made[0].why == ""  # type: ignore[union-attr]
    state, refused = run(state, e.CheckpointUploaded(honest.sha256, "another"))
    assert isinstance(refused[-1], d.Refused)
    state, _ = run(state, e.OfferCheckpoint("a", honest))
    state, made = run(state, e.CheckpointUploaded(honest.sha256, "good"))
    assert isinstance(made[0], d.CheckpointAccepted)
    assert state.latest == honest
    state, made = run(state, e.OfferCheckpoint("b", honest))
    assert made[0].why == "it is already here"  # type: ignore[union-attr]


def test_only_the_newest_checkpoints_and_the_first_are_kept() -> None:
    state, dropped = joined("a"), []
    for number in range(1, 5):
        found = Checkpoint(number, f"d{number}", f"{number:064x}", 9, 8 * number)
        state, _ = run(state, e.Report("a", (report(f"k{number}", number - 1, ()),)))
        state, _ = run(state, e.OfferCheckpoint("a", found))
        state, made = run(state, e.CheckpointUploaded(found.sha256, found.digest))
        dropped += [item.checkpoint.round for item in made if isinstance(item, d.CheckpointDropped)]
    assert sorted(state.checkpoints) == [0, 3, 4]
    assert dropped == [1, 2]


def test_a_finished_run_leases_nothing_and_says_so() -> None:
    state = joined("a")
    state, _ = run(state, e.Report("a", (report("k", 39, ()),)))
    assert state.finished
    assert run(state, e.TakeLease("a", 4))[1] == [d.LeaseDenied("the run is finished")]
    assert total(state.ledger.free) > 0
