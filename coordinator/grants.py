"""Which part of a swarm makes a round when no part has more than half of those who made the last one. Pure.

One part only: who asks first, unless more others could make the round. It may change in part while it tries, as long
as more than half of those stay who are members still. When a later round is known, but nobody who lives holds a later
state, the run goes back. Only who has a voice counts (`coordinator.quorum.voters`), and each key once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from coordinator import decisions as d
from coordinator import events as e
from coordinator import quorum
from coordinator.records import Member, RoundReport, Spoke
from coordinator.returning import go_back
from coordinator.rounds import Poll
from coordinator.state import State, Step

KEPT = 2 * quorum.AHEAD  # grants, the latest rounds': no others drive out those of the rounds that are made now


def ask(state: State, event: e.AskRound) -> Step:
    """Grant the round to these members, or say why not."""
    if why := _objection(state, event):
        return state, [d.RoundDenied(event.round, why)]
    made: list[d.Decision] = []
    if event.round < state.reported:
        state, made = go_back(state, event.round, event.members)
    named = event.members - state.grants.get(event.round, frozenset())
    state = state.with_members(replace(one, spoke=Spoke(state.round)) for one in _known(state, named))
    granted = {**state.grants, event.round: event.members}
    state = replace(state, grants={key: granted[key] for key in sorted(granted)[-KEPT:]})
    return state, [*made, d.RoundGranted(event.round, event.members)]


def _objection(state: State, event: e.AskRound) -> str:
    here = quorum.voters(state)
    ends = state.round + quorum.AHEAD  # reports of rounds before may still be on their way
    if not state.latest.round <= event.round <= ends or any(_is_beyond(one, event) for one in here):
        return f"the run is in round {state.round}"
    if event.member not in event.members:
        return "who asks has no part in it"
    return _too_few(state, event, here) or _given(state, event)


def _too_few(state: State, event: e.AskRound, here: list[Member]) -> str:
    """Why these are too few beside the others who are here."""
    part = {member.key for member in here if member.id in event.members}
    if event.round > state.round and 2 * len(part) < len({member.key for member in here}):
        return f"the run is in round {state.round}, as far as its members have said"
    holding = min(event.round, state.round)  # of a later round nobody else speaks yet
    others = {member.key for member in here if quorum.may_make(state, member, holding)} - part
    if len(others) > len(part) or (event.blind and event.round and len(others) == len(part)):
        return f"{len(others)} others hold that state, too, and may be going on"
    return ""


def _given(state: State, event: e.AskRound) -> str:
    """Why it is another part's, by what was granted before. Who has not said in half an hour what came of a round was
    granted it, or named by who was, for nothing.
    """
    votes = state.votes.get(event.round, Poll()).votes
    granted = _live(state, state.grants.get(event.round, ()))
    before = {member.id for member in granted if member.id in votes or not quorum.heard_long(state, member)}
    if before and 2 * len(before & event.members) <= len(before):
        return "another part of the swarm makes it"
    makers = {member.id for member in _live(state, state.grants.get(event.round - 1, ()))}
    if makers and not makers & event.members:
        return "another part of the swarm made the round before"
    return ""


def _is_beyond(member: Member, event: e.AskRound) -> bool:
    """Whether a live member holds a later state. One of those who ask does not, if it says itself that it works on this
    round: it may have reported the next state just before its process ended, and is believed to hold it since.
    """
    asks = member.id in event.members and member.pulse.round <= event.round
    return member.furthest > event.round and not asks


def deferred(state: State, member: str, report: RoundReport) -> bool:
    """Whether it cannot be said yet what a report counts: its round was granted to others, none of them named that
    state, and one that lives may still do so. This member may have come after the grant, and made it with them; or who
    asked for it named others that know nothing of it.
    """
    others, number = _others(state, member, report), report.round
    if not others:
        return False
    poll = state.votes.get(number, Poll())
    over = poll.agreed or state.round > number + quorum.AHEAD or quorum.outnumbered(state, others)
    if over or report.metrics.digest in _made(state, number, others):
        return False
    silent = (one for one in _live(state, others) if one.holds <= number and one.id not in poll.votes)
    return any(one.furthest <= number + quorum.AHEAD for one in silent)


def overruled(state: State, member: str, report: RoundReport) -> str:
    """Why the round that a member reports is not the run's: it was granted to others, and the run went on from what
    they made. That they name another state is not enough: who asked for it may be the only one of them that lies.
    """
    others, agreed = _others(state, member, report), state.agreed_on(report.round)
    if not others or report.metrics.digest in {agreed, *_made(state, report.round, others)}:
        return ""
    return "another part of the swarm made this round" if agreed or state.round > report.round else ""


def _others(state: State, member: str, report: RoundReport) -> frozenset[str]:
    """To whom the round that a member says it made was granted; nobody when that is the member, too."""
    granted = state.grants.get(report.round, frozenset[str]())
    return granted if report.metrics.digest and member not in granted else frozenset()


def _made(state: State, round_: int, members: Collection[str]) -> set[str]:
    """The states that these say the round made, or hold now, whoever made them."""
    poll = state.votes.get(round_, Poll())
    return {quorum.word(member, round_, poll) for member in _known(state, members)} - {""}


def _known(state: State, ids: Collection[str]) -> list[Member]:
    return [state.members[key] for key in ids if key in state.members]


def _live(state: State, ids: Collection[str]) -> list[Member]:
    return [member for member in _known(state, ids) if member.live]
