"""A later round, and a state, are believed when more than half say so, or the coordinator does; never for one word."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.exchange.belief import Offered, Standpoint, Told, believed, chosen

HONEST = [Offered(f"h{n}", 5, "good", b"good", ("h0", "h1", "h2", "h3")) for n in range(4)]
EVIL = Offered("evil", 6, "evil", b"evil", ("evil",))
NOBODY = Told()


def at(round_: int, *members: str, makers: tuple[str, ...] = (), say: bool = True) -> Standpoint:
    return Standpoint("own", round_, frozenset(members) | ({"own"} if say else set()), frozenset(makers), say)


def joiner(*offers: Offered, told: Told = NOBODY, least: int = 0) -> Offered | None:
    return chosen(offers, at(least, *(offer.member for offer in offers), say=False), told)


def test_one_member_gives_nobody_its_state_however_late_a_round_it_names() -> None:
    for round_ in (6, 10**6):
        found = joiner(*HONEST, Offered("evil", round_, "evil", b"evil", ("evil",)))
        assert found is not None
        assert (found.round, found.digest, found.made_by) == (5, "good", ("h0", "h1", "h2", "h3"))


def test_who_made_a_state_is_what_most_of_its_holders_say() -> None:
    found = joiner(*HONEST[:3], Offered("h3", 5, "good", b"good", ("h3",)))
    assert found is not None
    assert found.made_by == ("h0", "h1", "h2", "h3")


def test_a_late_peer_takes_what_most_hold_and_stays_where_only_one_is_later() -> None:
    late = at(4, *(offer.member for offer in HONEST))
    found = chosen([*HONEST, EVIL], late, NOBODY)
    assert found is not None
    assert found.round == 5
    assert chosen([EVIL], at(4, "evil"), NOBODY) is None
    assert chosen([EVIL], at(4, "evil", "h0"), NOBODY) is None


def test_of_two_the_coordinator_says_who_is_right() -> None:
    other = Offered("other", 6, "good", b"good")
    assert joiner(other, EVIL) is None
    for told in (Told(6, {6: "good"}), Told(7, {6: "good", 7: "next"})):
        assert joiner(other, EVIL, told=told) == other
    assert joiner(EVIL, told=Told(6, {6: "good"})) is None
    alone = at(5, "other")
    assert chosen([other], alone, NOBODY) is None
    assert chosen([other], alone, Told(6)) == other


def test_a_round_that_the_coordinator_granted_to_a_part_is_taken_from_that_part() -> None:
    """Of two halves one made it; the others went on offering each other the state before, which all had reported."""
    half = [Offered(f"h{n}", 5, "good", b"good") for n in range(3)]
    granted = [Offered(f"g{n}", 6, "next", b"next") for n in range(2)]
    found = chosen([*half, *granted], at(5, "h0", "h1", "h2", "g0", "g1"), Told(6, {5: "good"}))
    assert found in granted


def test_more_than_half_of_those_who_made_the_own_state_make_the_next_one() -> None:
    """Newcomers that are as far as this peer do not outvote them."""
    later = [Offered(f"h{n}", 7, "next", b"next") for n in range(3)]
    newcomers = [Offered(f"n{n}", 5, "good", b"good") for n in range(4)]
    names = [offer.member for offer in (*later, *newcomers)]
    makers = ("h0", "h1", "h2", "h3", "own")
    found = chosen([*later, *newcomers], at(5, *names, makers=makers), NOBODY)
    assert found is not None
    assert found.round == 7
    assert believed(at(5, *names), {offer.member: offer.round for offer in later}) < 7


def test_who_left_said_in_which_round() -> None:
    assert believed(at(5, "h1", makers=("h0", "h1", "own")), {"h0": 7, "h1": 9}) == 7


def test_who_gave_its_vote_for_the_next_round_does_not_speak_against_it() -> None:
    assert believed(at(5, "h1"), {"h1": 6}) == 5
    assert believed(Standpoint("own", 5, frozenset({"own", "h1"}), say=False), {"h1": 6}) == 6


@pytest.mark.parametrize("answered", range(6))
def test_nothing_is_chosen_before_more_than_half_have_spoken(answered: int) -> None:
    members = [f"h{n}" for n in range(5)]
    offers = [Offered(name, 5, "good", b"good") for name in members[:answered]]
    assert (chosen(offers, at(0, *members, say=False), NOBODY) is not None) is (answered >= 3)


@given(st.data(), st.integers(1, 6))
def test_fewer_than_half_never_move_anybody(data: st.DataObject, honest: int) -> None:
    """The honest are in one of two rounds that follow each other, as during a round's end."""
    liars = data.draw(st.integers(0, honest - 1))
    rounds = [data.draw(st.sampled_from([5, 6])) for _ in range(honest)]
    offers = [Offered(f"h{n}", round_, f"good{round_}", b"g") for n, round_ in enumerate(rounds)]
    lies = [Offered(f"e{n}", data.draw(st.integers(0, 10)), "evil", b"e", ("e0",)) for n in range(liars)]
    words = {offer.member: offer.round for offer in (*offers, *lies)}
    stand = at(0, *words, say=False)
    assert believed(stand, words) <= max(rounds)
    for told in (NOBODY, Told(max(rounds)), Told(max(rounds), {5: "good5", 6: "good6"})):
        found = chosen([*offers, *lies], stand, told)
        assert found is None or found.digest != "evil"


def test_who_voted_and_heard_no_outcome_takes_what_the_leader_holds() -> None:
    """All but the leader had lost the round's outcome: nobody could follow it, and it could not go on alone."""
    own, made = Offered("b", 5, "five"), Offered("a", 6, "six")
    waiting = replace(at(5, "a", "b", "c"), say=False, deciders=frozenset("a"))
    assert chosen([own, made], waiting, NOBODY) == made
    assert chosen([own, made], replace(waiting, deciders=frozenset("c")), NOBODY) != made
    assert chosen([own, replace(made, round=7)], waiting, NOBODY) != replace(made, round=7)
    assert chosen([own, made], waiting, Told(6, {6: "another"})) != made


def test_who_lost_also_the_state_from_which_it_voted_takes_the_one_for_which_it_did() -> None:
    """Most were killed after their votes and began anew two rounds before; nobody had the state between any more."""
    waiting = replace(at(5, "a", "b", "c"), say=False, deciders=frozenset("a"), voted=7)
    own, made = Offered("b", 5, "five"), Offered("a", 7, "seven")
    assert chosen([own, made], waiting, NOBODY) == made
    assert chosen([own, made], replace(waiting, deciders=frozenset("c")), NOBODY) != made
    assert chosen([own, replace(made, round=8)], waiting, NOBODY) != replace(made, round=8)
    assert chosen([own, made], waiting, Told(7, {7: "another"})) != made


def test_a_leader_that_got_another_average_takes_what_most_of_those_hold_whose_counted() -> None:
    """Two of three had the same one, and were two of five that made the last state: nobody could follow them."""
    stand = replace(at(5, "a", "d", "e"), say=False, deciders=frozenset("de"))
    made = [Offered(who, 6, "six") for who in "de"]
    assert chosen([Offered("a", 5, "five"), *made], stand, NOBODY) in made
    assert chosen([Offered("a", 5, "five"), made[0]], stand, NOBODY) not in made
