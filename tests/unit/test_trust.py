"""Standing: nobody is condemned on one bad answer, evidence fades, probation ends, and invites weigh what they may."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import events as e
from coordinator import trust
from coordinator.invites import hashed
from coordinator.probation import AFTER_CONDEMNATION, Company
from coordinator.records import IssuedInvite, Trust
from coordinator.state import State
from coordinator.tick import tick
from swarm.identity import member_id
from swarm.passes import Role
from tests.histories import TERMS, fresh

NOW = 1_700_000_000.0
ANNA, BEN = (member_id(letter * 32) for letter in (b"a", b"b"))
SECOND = member_id(b"a" * 32, 1)
STRICT = replace(TERMS, probation_checks=3)

answers = st.lists(st.tuples(st.booleans(), st.floats(0, 30 * 86_400.0)), max_size=60)


def invited(role: Role = Role.VOLUNTEER, slots: int = 0, weight: float = 0.0) -> IssuedInvite:
    return IssuedInvite(hashed(f"{role}{slots}{weight}"), role, NOW, slots=slots, weight=weight)


def with_members(invite: IssuedInvite, count: int, state: State | None = None) -> State:
    letters = [bytes([letter]) for letter in range(97, 97 + count)]
    joins = [
        e.Join(member_id(letter * 32), letter * 32, letter.decode(), "1", invite=invite.id, session=f"s{letter!r}")
        for letter in letters
    ]
    return tick(state or fresh(STRICT), [e.MakeInvite(invite), *joins], NOW, 1)[0]


def told(state: State, *passed: bool, key: str = ANNA, now: float = NOW) -> tuple[State, list[str]]:
    sentences = []
    for one in passed:
        state, [made] = trust.checked(state, key, one, "its update is not that of its samples", now)
        sentences.append(str(made))
    return state, sentences


# ── the sequential test ────────────────────────────────────────────────────────────────────────


@given(answers)
def test_nobody_is_condemned_with_fewer_than_three_bad_answers(given_: list[tuple[bool, float]]) -> None:
    state, now, bad = fresh(STRICT), NOW, 0
    for passed, pause in given_:
        now, bad = now + pause, bad + (not passed)
        state, _ = trust.checked(state, ANNA, passed, "differs", now)
        found = trust.of(state, ANNA)
        assert found.condemned <= bad // 3
        assert trust.CLEARED < found.evidence < trust.CONDEMNED
        assert found.clean == 0 or passed


@given(st.floats(-2.9, 6.8), st.floats(0, 1e8), st.floats(0, 1e8))
def test_evidence_fades_and_never_turns(evidence: float, first: float, more: float) -> None:
    kept = Trust(ANNA, evidence=evidence, at=NOW)
    sooner, later = (trust.faded(kept, NOW + first), trust.faded(kept, NOW + first + more))
    assert abs(later) <= abs(sooner) <= abs(evidence)
    assert sooner * evidence >= 0 <= later * evidence
    assert trust.faded(kept, NOW - first) == evidence  # a clock that is set back adds nothing


def test_bad_answers_in_a_row_condemn_and_say_why() -> None:
    state, sentences = told(with_members(invited(), 1), True, True, True, *[False] * 4)
    assert [bool(text) for text in sentences] == [False, False, True, False, False, False, True]
    assert "3 spot checks in a row" in sentences[2]
    assert "on probation again; the last one found: its update is not that of its samples" in sentences[-1]
    member = state.members[ANNA]
    assert "on probation again (its update is not that of its samples): 0 of 10" in state.probation(member)
    assert not state.bans
    assert member.live


def test_faults_months_apart_are_accidents() -> None:
    state = with_members(invited(), 1)
    for month in range(12):
        state, _ = told(state, False, now=NOW + month * 30 * 86_400.0)
    assert trust.of(state, ANNA).condemned == 0


def test_a_cheater_is_found_soon_and_an_honest_member_is_not() -> None:
    """By what each answers in the mean: every second wrong, one of twenty wrong."""
    cheats, _ = told(with_members(invited(), 1), *[False, True] * 8)
    honest, _ = told(with_members(invited(), 1), *([True] * 19 + [False]) * 50)
    assert trust.of(cheats, ANNA).condemned == 1
    assert trust.of(honest, ANNA).condemned == 0


# ── probation ──────────────────────────────────────────────────────────────────────────────────


def test_a_newcomer_weighs_nothing_until_so_many_clean_checks_and_all_its_seats_with_it() -> None:
    invite = invited()
    state = with_members(invite, 1)
    second = e.Join(SECOND, b"a" * 32, "a", "1", invite=invite.id, session="other")
    state, _ = tick(state, [second], NOW, 1)
    seats = [state.members[ANNA], state.members[SECOND]]
    assert [trust.share(state, member) for member in seats] == [0.0, 0.0]
    assert state.probation(seats[0]) == "on probation: 0 of 3 clean spot checks in a row so far"
    state, _ = told(state, True, True, False, True, True)
    assert trust.share(state, seats[0]) == 0.0
    state, _ = told(state, True)
    assert [trust.share(state, member) for member in seats] == [1.0, 1.0]
    state, _ = told(state, False)
    assert trust.share(state, seats[0]) == 1.0  # never for one bad answer


def test_without_probation_only_who_was_condemned_is_on_it() -> None:
    state = with_members(invited(), 2, fresh())
    assert trust.share(state, state.members[ANNA]) == 1.0
    state, _ = told(state, False, False, False)
    assert trust.share(state, state.members[ANNA]) == 0.0
    assert trust.share(state, state.members[BEN]) == 1.0
    state, _ = told(state, True, key=BEN)
    later = replace(state, terms=STRICT)  # the maintainer launches the run again with probation
    assert trust.share(later, later.members[BEN]) == 0.0
    state, _ = told(state, *[True] * AFTER_CONDEMNATION)
    assert trust.share(state, state.members[ANNA]) == 1.0


def test_who_came_with_a_better_invite_or_is_trusted_is_never_on_probation() -> None:
    for role in (Role.VALIDATOR, Role.MAINTAINER):
        state = with_members(invited(role), 1)
        assert trust.share(state, state.members[ANNA]) == 1.0
    state = with_members(invited(), 1)
    trusts = e.TrustKey(ANNA, "a", "cafe0123", "a friend")
    state, [made] = tick(state, [trusts], NOW, 1)
    assert isinstance(made, d.TrustChanged)
    assert "trusts a" in str(made)
    assert trust.share(state, state.members[ANNA]) == 1.0
    assert tick(state, [trusts], NOW, 1) == (state, [])
    state, [made] = tick(state, [e.TrustKey(ANNA, "a", "")], NOW, 1)
    assert "trusts no more" in str(made)
    assert trust.share(state, state.members[ANNA]) == 0.0


def test_where_all_are_on_probation_nothing_is_lent_and_the_maintainer_hears_what_to_do() -> None:
    state = with_members(invited(), 2)
    assert "swarm trust MEMBER" in trust.stuck(state)
    state, [denied] = tick(state, [e.TakeLease(ANNA, 8, "sb'a'")], NOW, 1)
    assert isinstance(denied, d.LeaseDenied)
    assert denied.why == trust.stuck(state)
    state, _ = tick(state, [e.TrustKey(BEN, "b", "cafe0123")], NOW, 1)
    assert trust.stuck(state) == ""
    state, made = tick(state, [e.TakeLease(ANNA, 8, "sb'a'"), e.TakeLease(BEN, 8, "sb'b'")], NOW, 1)
    assert [item.share for item in made if isinstance(item, d.LeaseGranted)] == [0.0, 1.0]
    assert trust.stuck(fresh(STRICT)) == ""


# ── invites ────────────────────────────────────────────────────────────────────────────────────


@given(st.floats(0.01, 20), st.integers(1, 25), st.lists(st.booleans(), max_size=40))
def test_an_invites_members_never_weigh_more_than_it_may(weight: float, count: int, passed: list[bool]) -> None:
    state = with_members(invited(weight=weight), count, fresh())
    for number, one in enumerate(passed):
        state, _ = told(state, one, key=sorted(state.members)[number % 3 % count])
    shares = [trust.share(state, member) for member in state.live]
    assert sum(shares) <= weight * (1 + 1e-9)
    assert all(0.0 <= share <= 1.0 for share in shares)
    weighing = [share for share in shares if share]
    assert len(set(weighing)) <= 1
    assert not weighing or abs(sum(weighing) - min(weight, len(weighing))) < 1e-9


@given(st.integers(1, 5), st.integers(1, 12))
def test_no_more_members_than_an_invite_has_places_are_live(slots: int, count: int) -> None:
    state = with_members(invited(slots=slots), count)
    assert len(state.live) == min(slots, count)


def test_who_finds_an_invite_full_hears_why_and_gets_the_place_of_one_that_leaves() -> None:
    invite = invited(slots=1)
    state = with_members(invite, 1)
    ben = e.Join(BEN, b"b" * 32, "b", "1", invite=invite.id, session="sb")
    after, [refused] = tick(state, [ben], NOW, 1)
    assert after == state
    assert isinstance(refused, d.Refused)
    assert refused.code == "INVITE_FULL"
    assert "is for 1 member at a time" in refused.what
    again = e.Join(ANNA, b"a" * 32, "a", "1", invite=invite.id, session="new", replaces="sb'a'")
    assert len(tick(state, [again], NOW, 1)[0].live) == 1
    state, _ = tick(state, [e.Leave(ANNA, "tired", "sb'a'"), ben], NOW, 1)
    assert [member.id for member in state.live] == [BEN]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["join", "second", "leave", "pass", "fail"])), max_size=40
    )
)
def test_the_company_of_an_invite_is_counted_as_it_comes_and_goes(story: list[tuple[str, str]]) -> None:
    ours, theirs = invited(weight=2.0), invited(slots=9)
    state = tick(fresh(STRICT), [e.MakeInvite(ours), e.MakeInvite(theirs)], NOW, 1)[0]
    for letter, what in story:
        seat, public_key = int(what == "second"), letter.encode() * 32
        id_ = member_id(public_key, seat)
        if what in ("join", "second"):
            joining = e.Join(id_, public_key, letter, "1", invite=theirs.id if letter == "c" else ours.id, session=id_)
            state, _ = tick(state, [joining], NOW, 1)
        elif what == "leave":
            state, _ = tick(state, [e.Leave(id_, "enough", id_)], NOW, 1)
        else:
            state, _ = trust.checked(state, id_, what == "pass", "differs", NOW)
        for invite in (ours, theirs):
            here = [member for member in state.live if member.invite == invite.id]
            weighing = sum(not state.probation(member) for member in here)
            assert state.company.get(invite.id, Company()) == Company(len(here), weighing)
