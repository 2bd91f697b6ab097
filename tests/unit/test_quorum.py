"""One member's word moves no run, brings no checkpoint and makes no round its own, where there are others; and a run
whose members come, go and speak at different times still goes on.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import checkpoints, quorum
from coordinator import decisions as d
from coordinator import events as e
from coordinator.admission import hashed
from coordinator.records import Checkpoint, IssuedInvite, Pulse
from coordinator.rounds import VoteForgotten
from coordinator.state import State
from coordinator.tick import tick
from swarm.passes import Role
from tests.histories import TERMS, fresh, report

LONG = replace(TERMS, total_rounds=1000, keep_checkpoints=3)
PROBATION = replace(LONG, probation_checks=10)
VOLUNTEER, VALIDATOR = (IssuedInvite(hashed(role), role, 0.0) for role in (Role.VOLUNTEER, Role.VALIDATOR))
LAST = LONG.total_rounds - 1


def run(state: State, *events: e.Event, now: float = 0.0) -> tuple[State, list[d.Decision]]:
    return tick(state, events, now, seed=1)


def join(name: str, invite: IssuedInvite = VOLUNTEER) -> e.Join:
    return e.Join(name, b"k" * 32, name, "1", invite=invite.id)


def swarm(*names: str, terms: object = LONG) -> State:
    state, _ = run(fresh(terms), e.MakeInvite(VOLUNTEER), e.MakeInvite(VALIDATOR))  # type: ignore[arg-type]
    return run(state, *map(join, names))[0]


def says(state: State, who: str, round_: int, digest: str = "", now: float = 0.0) -> State:
    key = f"{who}/{round_}/{digest}"
    return run(state, e.Report(who, (report(key, round_, (), digest),)), now=now)[0]


def trained(state: State, rounds: int, *names: str, first: int = 0) -> State:
    for number in range(first, rounds):
        for name in names:
            state = says(state, name, number)
    return state


def bring(state: State, who: str, round_: int, digest: str = "") -> tuple[State, list[d.Decision]]:
    offered = Checkpoint(round_, digest or f"d{round_}", f"{who}{round_}{digest}".ljust(64, "0"), 1, 8, uploaded_by=who)
    state, made = run(state, e.OfferCheckpoint(who, offered))
    if any(isinstance(item, d.CheckpointOffered) and item.why for item in made):
        return state, made
    state, more = run(state, e.CheckpointUploaded(offered.sha256, offered.digest))
    return state, [*made, *more]


# ── the run's round ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("terms", [LONG, PROBATION])
def test_one_report_ends_no_run_and_its_ban_leaves_nothing(terms: object) -> None:
    state = trained(swarm(*"abcdex", terms=terms), 5, *"abcde")
    state = says(state, "x", LAST, "evil")
    assert (state.round, state.finished) == (5, False)
    state, _ = run(state, e.Ban("x", "x", "lies"))
    assert trained(state, 7, *"abcde", first=5).round == 7


def test_seats_of_a_key_are_one_voice() -> None:
    state = trained(swarm("a", "b", "c", *(f"x-{seat}" for seat in range(1, 8))), 5, *"abc")
    for seat in range(1, 8):
        state = says(state, f"x-{seat}", LAST, "evil")
    assert (state.round, state.finished) == (5, False)


def test_who_is_on_probation_has_no_voice_beside_one_that_weighs() -> None:
    state, _ = run(swarm(*"xyz", terms=PROBATION), join("v", VALIDATOR))
    for who in "xyz":
        state = says(state, who, 0, "evil")
    assert state.round == 0
    state = says(state, "v", 0)
    assert (state.round, state.agreed_on(0)) == (1, "d1")
    state, _ = run(state, e.Leave("v", "night"))
    for who in "xyz":
        state = says(state, who, 1)
    assert state.round == 1, "without anybody who weighs no round is made"
    state, _ = run(state, e.TrustKey("x", "x", "cafe", "a friend"))
    assert state.round == 2, "the maintainer's word gives it a voice"


def test_one_alone_that_weighs_nothing_decides_nothing_and_two_do() -> None:
    state = trained(swarm("x", "y", terms=PROBATION), 3, "x")
    assert state.round == 0
    assert trained(state, 3, "y").round == 3


def test_one_peer_trains_alone() -> None:
    assert trained(swarm("a"), LONG.total_rounds, "a").finished


@given(st.permutations("abcde"), st.integers(1, 20))
def test_when_members_report_does_not_matter(order: list[str], away: int) -> None:
    """The coordinator was away for so many rounds; each says afterwards all of its own."""
    state = trained(swarm(*"abcde"), 2, *"abcde")
    for count, who in enumerate(order, 1):
        for number in range(2, 2 + away):
            state = says(state, who, number)
        assert state.round == (2 + away if count >= 3 else 2)


def test_the_last_word_need_not_come_from_who_is_gone() -> None:
    """All but one leave with their last report; the one was killed before its own."""
    state = trained(swarm(*"abc"), 2, *"abc")
    state, _ = run(says(state, "a", 2), e.Leave("a", "done"))
    assert state.round == 2
    state, _ = run(says(state, "b", 2), e.Leave("b", "done"))
    assert state.round == 3


def test_who_left_without_a_word_is_missed_no_more() -> None:
    state = says(trained(swarm(*"ab"), 2, *"ab"), "a", 2)
    assert state.round == 2
    state, made = run(state, e.Leave("b", "night"))
    assert state.round == 3
    assert any(isinstance(item, d.RoundAdvanced) for item in made)
    state = says(trained(swarm(*"ab"), 2, *"ab"), "a", 2)
    state, _ = run(state, e.Heartbeat("a", Pulse()), now=14.0)
    assert run(state, now=16.0)[0].round == 3, "nor who is silent"


def test_newcomers_that_fetch_the_state_hold_nothing_up() -> None:
    state = trained(swarm(*"ab"), 5, *"ab")
    state, _ = run(state, *map(join, "cdef"))
    state, _ = run(state, *(e.Heartbeat(who, Pulse("syncing", round=5)) for who in "cdef"))
    state = trained(state, 6, *"ab", first=5)
    assert state.round == 6
    state = trained(state, 8, *"abcdef", first=6)
    assert state.round == 8


def test_a_slow_peer_that_is_in_no_round_vouches_by_the_state_that_it_holds() -> None:
    state, _ = run(trained(swarm("a"), 5, "a"), join("b"), e.Heartbeat("b", Pulse("training", round=5, digest="d5")))
    state = says(state, "a", 5)
    assert state.round == 5
    state, _ = run(state, e.Heartbeat("b", Pulse("training", round=6, digest="other")))
    assert state.round == 5
    state, _ = run(state, e.Heartbeat("b", Pulse("training", round=6, digest="d6")))
    assert state.round == 6


def test_a_maker_that_hangs_holds_nothing_up_where_most_go_on_without_it() -> None:
    state, _ = run(trained(swarm(*"ab"), 5, *"ab"), join("c"))
    state = says(says(state, "a", 5), "c", 5)
    assert state.round == 6, "two of three who hold that state, though b is silent"


def test_all_others_are_gone_and_the_last_maker_is_a_liar() -> None:
    state = trained(swarm(*"abx"), 5, *"abx")
    state, _ = run(state, e.Leave("a", "night"), e.Leave("b", "night"), join("c"))
    state, _ = run(state, e.Heartbeat("c", Pulse("training", round=5, digest="d5")))
    state = says(state, "x", LAST, "evil")
    assert not state.finished
    assert trained(state, 6, *"xc", first=5).round == 6


def came_back(state: State, *names: str, left_in: int, now: float, phase: str = "syncing") -> State:
    """They begin anew, after a goodbye in round `left_in`, with a checkpoint of that round."""
    state, _ = run(state, *(replace(join(who), left_in=left_in) for who in names), now=now)
    return run(state, *(e.Heartbeat(who, Pulse(phase, round=left_in)) for who in names), now=now)[0]


@pytest.mark.parametrize("heard", [True, False])
def test_who_said_goodbye_and_is_back_without_the_state_holds_nobody_up_who_stayed(heard: bool) -> None:
    """The coordinator hears of the others' rounds after they are back, and perhaps not that they went."""
    state = trained(swarm(*"abc"), 5, *"abc")
    if heard:
        state, _ = run(state, e.Leave("a", "night"), e.Leave("b", "night"), now=5.0)
    state = came_back(came_back(state, "a", left_in=5, now=6.0), "b", left_in=5, now=7.0)
    state = trained(state, 8, "c", first=5)
    assert (state.round, state.agreed_on(7)) == (8, "d8")
    state, _ = run(state, *(e.Heartbeat(who, Pulse("training", round=8, digest="d8")) for who in "ab"), now=8.0)
    assert says(state, "c", 8, "evil").round == 8, "they hold that state, and so they have a voice again"


def test_who_is_back_with_the_state_counts_again() -> None:
    state = came_back(trained(swarm(*"abc"), 5, *"abc"), *"ab", left_in=5, now=6.0, phase="training")
    assert says(state, "c", LAST, "evil").round == 5


def test_those_who_left_one_after_the_other_were_never_missed() -> None:
    """A leader that lies holds up the round; they start their peers again, and it says that they are behind."""
    state, _ = run(trained(swarm(*"abx"), 5, *"abx"), e.Leave("a", "again"), now=5.0)
    state, _ = run(came_back(state, "a", left_in=5, now=6.0), e.Leave("b", "again"), now=6.0)
    state = came_back(state, "b", left_in=5, now=7.0)
    assert says(state, "x", LAST, "evil", now=7.0).round == 5


def test_who_was_started_anew_without_a_goodbye_is_missed() -> None:
    state = came_back(trained(swarm(*"abx"), 5, *"abx"), *"ab", left_in=0, now=6.0)
    assert says(state, "x", LAST, "evil", now=6.0).round == 5


def test_an_absence_is_over_once_the_new_process_was_in_a_round() -> None:
    state = came_back(trained(swarm(*"abx"), 5, *"abx"), *"ab", left_in=5, now=6.0, phase="training")
    state = trained(state, 6, *"abx", first=5)
    assert state.round == 6
    assert [state.members[who].away for who in "ab"] == [None, None]


def test_who_says_that_it_was_away_takes_nobody_elses_voice() -> None:
    state = came_back(trained(swarm(*"abx"), 5, *"abx"), "x", left_in=5, now=6.0)
    assert says(state, "x", LAST, "evil", now=6.0).round == 5
    assert trained(state, 6, *"ab", first=5).round == 6


def test_nobody_on_probation_decides_while_those_who_weigh_fetch_the_state() -> None:
    state, _ = run(swarm(*"xyz", terms=PROBATION), join("v", VALIDATOR))
    state = trained(state, 5, *"vxyz")
    state, _ = run(state, replace(join("v", VALIDATOR), left_in=5), now=6.0)
    for who in "xyz":
        state = says(state, who, 5, now=6.0)
    assert state.round == 5


def test_the_digest_that_was_agreed_on_stays_whoever_comes_later() -> None:
    state = trained(swarm(*"abc"), 1, *"ab")
    state, _ = run(state, *map(join, "uvwxyz"))
    for who in "uvwxyz":
        state = says(state, who, 0, "evil")
    assert state.votes[0].majority == "d1"
    assert says(state, "a", 0, "evil").votes[0].votes["a"].digest == "d1", "a word on such a round stands"


def test_words_on_rounds_ahead_are_few_and_push_nothing_out() -> None:
    state = trained(swarm(*"abx"), 5, *"ab")
    for number in range(100, 100 + quorum.AHEAD):
        state = says(state, "x", number, "evil")
    state, made = run(state, e.Report("x", (report("more", 500, (), "evil"),)))
    assert [item for item in made if isinstance(item, VoteForgotten)] == [VoteForgotten(100, "x")]
    assert set(range(5)) < set(state.votes)
    assert len(state.votes) == 5 + quorum.AHEAD


def test_what_nobody_else_reported_is_undone_when_its_only_holder_is_gone() -> None:
    state = says(trained(swarm(*"ab"), 2, *"ab"), "a", 2)
    state, _ = run(state, e.Leave("a", "crash"), e.Leave("b", "crash"), join("c"))
    state, made = run(state, e.TakeLease("c", 4))
    assert any(isinstance(item, d.WentBack) for item in made)
    assert (state.round, state.reported) == (0, 0)


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────


def test_one_member_drives_out_no_checkpoint() -> None:
    state = swarm(*"abcx")
    for number in range(6):
        state, _ = bring(trained(state, number + 1, *"abc", first=number), "a", number + 1)
    for number in (997, 998, 999):
        state, _ = bring(says(state, "x", number - 1, "evil"), "x", number, "evil")
    assert (sorted(state.checkpoints), state.round) == ([0, 4, 5, 6], 6)
    assert [it.round for it in state.brought.values()] == [999], "of each member one waits"


def test_one_of_a_round_that_is_over_without_words_on_it_is_not_waited_for() -> None:
    state = says(says(swarm(*"ab"), "a", 4), "b", 4)
    assert state.round == 5
    _, made = bring(state, "a", 3)
    assert [item.why for item in made if isinstance(item, d.CheckpointOffered)] == [
        "the members do not agree on that round"
    ]


def test_the_first_that_speaks_of_a_round_may_bring_its_state_at_once_and_leave() -> None:
    state, made = bring(says(trained(swarm(*"abc"), 3, *"abc"), "a", 3), "a", 4)
    assert not any(isinstance(item, d.CheckpointAccepted) for item in made)
    state, _ = run(state, e.Leave("a", "night"))
    state, made = run(state, e.Report("b", (report("b", 3, ()),)))
    assert [item.checkpoint.round for item in made if isinstance(item, d.CheckpointAccepted)] == [4]
    assert (state.latest.round, state.brought) == (4, {})


def test_what_waits_goes_when_another_state_is_agreed_on() -> None:
    state, _ = bring(says(trained(swarm(*"abx"), 3, *"abx"), "x", 3, "evil"), "x", 4, "evil")
    state, made = run(says(state, "a", 3), e.Report("b", (report("b", 3, ()),)))
    dropped = [item.checkpoint.digest for item in made if isinstance(item, d.CheckpointDropped)]
    assert (dropped, state.brought) == (["evil"], {})


def test_files_of_those_who_are_gone_are_few() -> None:
    state = trained(swarm("a", "b"), 3, "a", "b")
    for number in range(20):
        state, _ = run(state, join(f"x{number}"))
        state, _ = bring(says(state, f"x{number}", 900, f"evil{number}"), f"x{number}", 901, f"evil{number}")
        state, _ = run(state, e.Leave(f"x{number}", "bye"))
    assert len(state.brought) <= checkpoints._LEFT_BEHIND + 1


# ── grants, doubts ───────────────────────────────────────────────────────────────────────────────


def granted(state: State, who: str, round_: int, members: str = "", blind: bool = False) -> tuple[State, bool]:
    state, made = run(state, e.AskRound(who, round_, frozenset(members or who), blind=blind))
    return state, any(isinstance(item, d.RoundGranted) for item in made)


@pytest.mark.parametrize("round_", [5, 6, 40, 10**6])
def test_no_member_gets_a_round_for_itself_while_more_others_hold_the_state(round_: int) -> None:
    state = trained(swarm(*"abcdex"), 5, *"abcdex")
    state, yes = granted(state, "x", round_)
    assert not yes
    state = trained(state, 6, *"abcde", first=5)
    assert all(entry.state == "counted" for group in state.ledger.counted.values() for entry in group.values())
    assert state.round == 6


def test_who_was_granted_a_round_says_what_it_made_beside_one_that_was_started_anew() -> None:
    """It waited for the coordinator's word on the state, and the coordinator for its word on the round."""
    state = trained(swarm("a", "b"), 5, "a", "b")
    state, _ = run(state, e.Heartbeat("b", Pulse(phase="training", round=3)))
    state, yes = granted(state, "a", 5, "a")
    assert yes
    assert trained(state, 9, "a", first=5).round == 9


def test_a_part_that_was_granted_a_later_round_says_what_the_rounds_before_made() -> None:
    """Half of a group heard that its round was made and went on; the others knew nothing of it and could not follow."""
    state = trained(swarm(*"abcdef"), 4, *"abcdef")
    state = trained(state, 5, *"abc", first=4)
    assert state.round == 4
    state, yes = granted(state, "a", 5, "abc")
    assert yes
    assert trained(state, 7, *"abc", first=5).round == 7


def test_before_the_first_round_too() -> None:
    state, yes = granted(swarm(*"abcdex"), "x", 0)
    assert not yes
    assert granted(state, "a", 0, "abcde")[1]


def test_who_claims_a_later_state_on_probation_stops_nobody() -> None:
    state, _ = run(swarm("x", terms=PROBATION), join("v", VALIDATOR))
    state, _ = run(state, e.Heartbeat("x", Pulse("training", round=10**6)))
    assert granted(state, "v", 0)[1]


def test_one_key_halts_no_run() -> None:
    seats = ["x", *(f"x-{seat}" for seat in range(1, 4))]
    state = trained(swarm(*"abc", *seats), 5, *"abc")
    for seat in seats:
        found = state.checkpoints[0] if state.round == 0 else None
        digest = found.digest if found else f"d{state.round}"
        evaluation = e.Evaluated(seat, d.Evaluation(state.round, digest, math.nan, {}, seat))
        state, _ = run(state, evaluation)
    assert (state.round, state.lineage, state.halted) == (5, 0, "")


def test_two_words_with_one_invite_are_too_few_where_there_are_others() -> None:
    state, _ = run(trained(swarm(*"abx"), 5, *"abx"), join("v", VALIDATOR))
    for who in "xa":
        state, _ = run(state, e.Evaluated(who, d.Evaluation(5, "d5", math.nan, {}, who)))
    assert state.lineage == 0
    state, _ = run(state, e.Evaluated("v", d.Evaluation(5, "d5", math.nan, {}, "v")))
    assert state.lineage == 1
