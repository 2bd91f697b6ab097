"""Whom a leader believes of a round that it let be made, and got another average in."""

from __future__ import annotations

from dataclasses import replace

from peer.exchange.belief import Offered, Told, chosen
from peer.exchange.hearsay import Hearsay
from peer.exchange.rounds import Member

LEADER, FIRST, SECOND = (Member(float(at), f"{name}.1".encode(), member=name) for at, name in enumerate("abc"))
ANEW = replace(FIRST, peer_id=b"b.2", joined_at=9.0)  # the same member, whose process was killed


def heard(*members: Member) -> Hearsay:
    """That of the leader, which let θ_6 be made by the two others and gave its own vote, too."""
    hearsay = Hearsay(LEADER.peer_id, lambda: members)
    hearsay.decided = 6, frozenset({FIRST.peer_id, SECOND.peer_id})
    hearsay.voted = lambda: 6
    return hearsay


def test_who_was_started_anew_knows_no_more_what_the_process_before_made() -> None:
    """Of two that made a state one was killed: the other's word was never more than half of theirs."""
    made = Offered("c", 6, "six")
    assert chosen([made], heard(LEADER, FIRST, SECOND).standpoint(5), Told()) is None
    for members in ((LEADER, SECOND), (LEADER, ANEW, SECOND)):
        assert chosen([made], heard(*members).standpoint(5), Told()) == made
    assert chosen([made], heard(LEADER, SECOND).standpoint(5), Told(6, {6: "another"})) is None


def test_a_leader_waits_for_the_state_that_it_let_be_made_unless_all_who_made_it_are_gone() -> None:
    for members in ((LEADER, FIRST, SECOND), (LEADER, ANEW, SECOND)):
        assert heard(*members).works_on(holds=5, led=6) == 6
    assert heard(LEADER, ANEW).works_on(holds=5, led=6) == 5
    assert heard(LEADER, ANEW).works_on(holds=7, led=7) == 7
