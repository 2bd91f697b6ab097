"""Which rounds the members agree on: one member's word is not enough where there are others. Pure.

A round is the run's when more than half of its electors name one state. Electors are those who made the last round of
the run, as peers decide among themselves who makes the next one (dynamic voting, decision 0012): members that are here,
or that said their word before they left. Where these are one only, or nobody, or half of them are silent, all who hold
that state or a later one are electors; where the round or a later one was granted to a part (`coordinator.grants`),
what all of that part name is the run's, too: they apply it together or not at all. After half an hour without any
other agreement more than half of the part are enough, if nobody of it names another. Peers do not miss who said
goodbye, so who was away is no elector for those who stayed, even if their words come later than it is back, until it
holds the state again. Several seats of a key have one voice, and who is on probation has none beside somebody who
weighs. Words on other rounds are kept until more come, so that a report's time decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from coordinator import checkpoints
from coordinator import decisions as d
from coordinator.records import Member, RoundReport
from coordinator.rounds import DigestsDiffer, Poll, RoundAgreed, VoteForgotten
from coordinator.state import State, Step, Votes, advanced

AHEAD = 64  # rounds that are not agreed on, of which a member's newest words are kept
KEPT = 64  # rounds that are agreed on whose words stay in memory
_LOOKS = 4  # at a crowd, while it reports a round
_MOMENTS = 16  # at which members left in one round, the latest: so many electorates are tried
_FETCHING = "syncing"  # the phase of a member that holds no state yet
_SIGNS = 3  # of life since the run's newest round: who holds its state says so by then
_MANY = 360  # signs of life, half an hour: who has something to say of the round has said it by then


def voiced(state: State, member: str, report: RoundReport) -> Step:
    """With a member's word on a round."""
    before = state.votes.get(report.round, Poll())
    poll = before.plus(member, report.metrics)
    made: list[d.Decision] = []
    changed = poll.majority not in (report.metrics.digest, "") or poll.majority != before.majority
    if changed and (others := poll.minority) and others != before.minority:
        made.append(DigestsDiffer(report.round, poll.majority, others))
    state = replace(state, votes=state.votes.set(report.round, poll))
    state, forgotten = _bounded(state, member)
    state, agreed = _heard(state, report.round) if _is_turn(state, poll) else (state, [])
    votes = _recent(state.votes, state.round, state.latest.round)
    state = state if votes is state.votes else replace(state, votes=votes)
    return state, [*made, *forgotten, *agreed]


def known(state: State, member: str, round_: int) -> bool:
    """Whether the member's word on a round that was agreed on is here: it stands."""
    poll = state.votes.get(round_, Poll())
    return bool(poll.agreed) and member in poll.votes


def _is_turn(state: State, poll: Poll) -> bool:
    """In a crowd hardly before most reports are here, since all members must be looked at to see who decides. `looked`
    finds what is left.
    """
    there, makers = len(poll.votes), len(state.votes.get(state.round - 1, Poll()).votes)
    return 2 * there > makers or there % max(1, makers // _LOOKS) == 0


def held(state: State, member: Member) -> Step:
    """After a sign of life of a member that holds what a round made, but was not in it."""
    counted = member.spoke.at == member.last_seen  # who hurries has nothing looked at again
    if counted and heard_long(state, member) and member.spoke.times % _MANY == 0:
        return looked(state)
    poll = state.votes.get(member.pulse.round - 1)
    if poll is None or member.id in poll.votes or member.pulse.digest not in poll.named:
        return state, []
    return _heard(state, member.pulse.round - 1)


def _heard(state: State, round_: int) -> Step:
    """After something new about one round."""
    if round_ < state.round or round_ not in state.votes or not (digest := _named(state, round_)):
        return state, []
    state, made = _agreed(state, round_, digest)
    state, more = looked(state)
    return state, [*made, *more]


def looked(state: State) -> Step:
    """After somebody came, left, or weighs now: each round on which they agree."""
    made: list[d.Decision] = []
    reached = state.round
    for round_ in sorted(number for number in state.votes if number >= reached):
        if digest := _named(state, round_):
            state, more = _agreed(state, round_, digest)
            made += more
    return state, made


def _agreed(state: State, round_: int, digest: str) -> Step:
    poll = replace(state.votes[round_], agreed=digest)
    after = replace(state, votes=state.votes.set(round_, poll), reached=round_ + 1)
    settled, made = checkpoints.settled(after)
    return settled, [RoundAgreed(round_, digest), *advanced(state, after), *made]


def _named(state: State, round_: int) -> str:
    """The state that more than half of the round's electors name; empty without one."""
    told, late = _by_part(state, round_)
    named = (_named_without(state, round_, away) for away in (frozenset[str](), *_away_together(state)))
    return told or next(filter(None, named), "") or late


def _named_without(state: State, round_: int, away: frozenset[str]) -> str:
    poll = state.votes[round_]
    makers, all_, weigh = _electors(state, poll, away)
    several = len({member.key for member in makers}) > 1
    return (_by(makers, round_, poll, weigh) if several else "") or _by(all_, round_, poll, weigh)


def _by_part(state: State, round_: int) -> tuple[str, str]:
    """The state that all members of the part name to whom a round from this one on was granted; and the one that more
    than half of those who are left of it name, and nobody another, long after the round before. The member that asked
    may have named others who know nothing of it: these have no part in what it says, and prevent nothing.
    """
    part, weigh = weighing(state, _granted(state, state.round))
    if not part or outnumbered(state, {member.id for member in part}):
        return "", ""
    poll = state.votes[round_]
    words = {member.id: word(member, round_, poll) for member in part}
    said = [member for member in part if words[member.id]]
    named, keys = set(words.values()) - {""}, {member.key for member in said}
    digest = named.pop() if len(named) == 1 and (weigh or len(keys) > 1) else ""  # as in `_by`
    if digest not in poll.named:
        return "", ""
    here = {member.key for member in part if member.live or words[member.id]}
    late = 2 * len(keys) > len(here) and all(heard_long(state, member) for member in said)
    return digest if len(said) == len(part) else "", digest if late else ""


def _away_together(state: State) -> Iterator[frozenset[str]]:
    """Who was away at one moment, for each at which somebody left that made the last round, and is back. Who left one
    after the other was not.
    """
    makers = state.votes.get(state.round - 1, Poll()).votes
    members = [state.members[key] for key in makers if key in state.members]
    gone = {member.id: member.away for member in members if member.away and member.away.round == state.round}
    for moment in sorted({away.since for away in gone.values()})[-_MOMENTS:]:
        yield frozenset(key for key, away in gone.items() if away.since <= moment < away.until)


def _by(electors: Iterable[Member], round_: int, poll: Poll, weigh: bool) -> str:
    """The state that more than half of these name."""
    said = dict[str, list[str]]()
    for member in electors:
        said.setdefault(member.key, []).append(word(member, round_, poll))
    named = Counter(_most(words) for words in said.values())
    digest = _most(word for word in named.elements() if word in poll.named)
    enough = 2 * named[digest] > len(said) and (weigh or named[digest] > 1)  # never one alone that weighs nothing
    return digest if digest and enough else ""


def _electors(state: State, poll: Poll, away: frozenset[str]) -> tuple[list[Member], list[Member], bool]:
    """Who made the last round; with them all who hold its state, or spoke of this one; and whether they weigh. Who
    was `away` counts if it holds the state.
    """
    round_, members = state.round, state.members
    last = state.votes.get(round_ - 1, Poll())
    makers = [member for member, vote in last.votes.items() if last.agreed and vote.digest == last.agreed]
    holders = [key for key, member in members.items() if member.live and could_make(state, member, round_)]
    ids = sorted({*makers, *holders, *poll.votes})
    everybody, weigh = weighing(state, [members[member] for member in ids if member in members])
    missed = away.difference(holders)
    here = [it for it in everybody if it.id in poll.votes or (it.live and it.id not in missed)]
    made = set(makers)
    return [member for member in here if member.id in made], here, weigh


def _granted(state: State, round_: int) -> list[Member]:
    """The part to which the round, or the next one that was, was granted: it went on from what the round made."""
    number = min((number for number in state.grants if number >= round_), default=-1)
    return [state.members[key] for key in sorted(state.grants.get(number, ())) if key in state.members]


def weighing(state: State, members: Iterable[Member]) -> tuple[list[Member], bool]:
    """Those whose updates weigh, and that there are such; else all. Who is banned is none of either."""
    let_in = [member for member in members if member.key not in state.bans]
    heavy = [member for member in let_in if not state.probation(member)]
    return (heavy, True) if heavy else (let_in, False)


def voters(state: State) -> list[Member]:
    """Who is here and has a voice."""
    return weighing(state, state.live)[0]


def most(members: Sequence[Member], chosen: Collection[str]) -> bool:
    """Whether the chosen, by their ids, have more than half of these members' voices; the seats of a key share one."""
    seats = Counter(member.key for member in members)
    return 2 * sum(Fraction(1, seats[member.key]) for member in members if member.id in chosen) > len(seats)


def could_make(state: State, member: Member, round_: int) -> bool:
    """Whether it holds θ_round or a later state, as far as it is known, and neither another θ_round than the run's nor
    fetches one just now.
    """
    pulse = member.pulse
    other = pulse.round == round_ and pulse.digest not in ("", state.agreed_on(round_ - 1) or pulse.digest)
    return member.furthest >= round_ and pulse.phase != _FETCHING and not other


def may_make(state: State, member: Member, round_: int) -> bool:
    """Whether it could make the round, or its word that it can may be on its way: it could make the one before, and did
    not often say since that it still does that; or it fetches the state again, having made one of the last two rounds.
    """
    if member.pulse.phase == _FETCHING:
        return not heard_long(state, member) and any(
            member.id in state.votes.get(round_ - back, Poll()).votes for back in (1, 2)
        )
    late = _has_spoken(state, member, _SIGNS)
    return could_make(state, member, round_) or (not late and could_make(state, member, round_ - 1))


def outnumbered(state: State, part: Collection[str]) -> bool:
    """Whether more others could make the run's next round than there are of the part to which it was granted: who came
    since, or held that state all the time, when who asked was alone.
    """
    here = voters(state)
    inside = {member.key for member in here if member.id in part}
    return len({member.key for member in here if could_make(state, member, state.round)} - inside) > len(inside)


def heard_long(state: State, member: Member) -> bool:
    """Whether it was heard for half an hour since the run's newest round."""
    return _has_spoken(state, member, _MANY)


def _has_spoken(state: State, member: Member, times: int) -> bool:
    return member.spoke.round == state.round and member.spoke.times >= times


def word(member: Member, round_: int, poll: Poll) -> str:
    """What it reported, or that it holds the state that the round made."""
    vote, pulse = poll.votes.get(member.id), member.pulse
    return vote.digest if vote else pulse.digest if member.live and pulse.round == round_ + 1 else ""


def _most(words: Iterable[str]) -> str:
    """The most frequent one, of equally many the lowest; empty words are none."""
    counts = Counter(filter(None, words))
    return min(counts, key=lambda word: (-counts[word], word), default="")


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────


def _bounded(state: State, member: str) -> Step:
    """Without the member's oldest word on a round that is not agreed on, when it said too many."""
    round_ = state.round
    ahead = [number for number, poll in state.votes.items() if number >= round_ and member in poll.votes]
    if len(ahead) <= AHEAD:
        return state, []
    oldest = min(ahead)
    poll = state.votes[oldest].minus(member)
    votes = state.votes.set(oldest, poll) if poll.votes else state.votes.delete(oldest)
    return replace(state, votes=votes), [VoteForgotten(oldest, member)]


def _recent(votes: Votes, round_: int, latest: int) -> Votes:
    """Of a run in `round_` those that a checkpoint may still be checked against, and the last ones for people."""
    first = min(latest, round_ - KEPT)
    for key in [key for key in votes if key < first]:
        votes = votes.delete(key)
    return votes
