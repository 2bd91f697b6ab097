"""Campaigns spread over volunteers: who computes which unit, which answers stand, and who was wrong. Pure.

Each unit is computed by two keys, with different invites where there are several, as BOINC does it (Anderson 2020,
arXiv 1903.01699). Where the two do not tell the same, a third decides, and so on up to `MOST`; a unit in which no two
agree then is left out. Nobody hears another's answer before its own is there.

Right and wrong answers of a key go through the test of spot checks (`coordinator.trust`), in a tally of their own:
otherwise cheap right answers here would pay for wrong updates there. Whom it condemns gets no more units, and its
updates are on probation again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from coordinator import bans, findings, trust
from coordinator import decisions as d
from coordinator import events as e
from coordinator.records import Trust
from coordinator.state import State, Step
from coordinator.trialrecords import (
    UNDECIDED,
    Answer,
    AnswerKnown,
    Campaign,
    CampaignEnded,
    CampaignStarted,
    Holding,
    TallyChanged,
    Trials,
    Unit,
    UnitAnswered,
    UnitDenied,
    UnitGiven,
    UnitSettled,
)
from swarm.errors import NotFoundError, UsageError
from swarm.trials.answers import flaw, merged, same
from swarm.trials.suites import figures, writes

MOST = 5  # answers to one unit
ABOUT = 600.0  # seconds since an invite asked last, in which it is waited for
MOST_OPEN = 8  # campaigns at a time
MOST_UNITS = 5000
MOST_ITEMS = 20_000
MOST_IN_UNIT = 1024
_CLOSED = d.Refused("There is no such unit, or it is settled.", "Ask for another one.", NotFoundError.code)


def apply(state: State, event: e.TrialEvent, now: float, rng: random.Random) -> Step:
    """What comes of an event about trials or findings."""
    match event:
        case e.StartCampaign():
            return start(state, event, now)
        case e.StopCampaign():
            return stop(state, event, now)
        case e.TakeUnit():
            return take(state, event, now)
        case e.AnswerUnit():
            return answer(state, event, now)
        case e.ReportFinding():
            return findings.report(state, event, now, rng)
        case e.ResolveFinding():
            return findings.resolve(state, event, now)


def start(state: State, event: e.StartCampaign, now: float) -> Step:
    """Begin a campaign on a checkpoint that the run keeps."""
    trials, number = state.trials, len(state.trials.campaigns) + 1
    campaign = replace(event.campaign, id=f"C{number}", number=number, started_at=now)
    if why := _misfit(state, campaign):
        return state, [d.Refused(why, "Change that, and start it again.", UsageError.code)]
    after = replace(trials, campaigns={**trials.campaigns, campaign.id: campaign})
    return replace(state, trials=after), [CampaignStarted(campaign)]


def _misfit(state: State, campaign: Campaign) -> str:
    kept = state.checkpoints.get(campaign.round)
    if kept is None or kept.digest != campaign.digest:
        return f"The run keeps no such checkpoint of round {campaign.round}."
    if len(state.trials.open) >= MOST_OPEN:
        return f"{MOST_OPEN} campaigns are open, and no more are taken."
    if not (
        0 < campaign.items <= MOST_ITEMS and 0 < campaign.unit_items <= MOST_IN_UNIT and campaign.units <= MOST_UNITS
    ):
        return f"A campaign has 1 to {MOST_ITEMS} items in at most {MOST_UNITS} units of at most {MOST_IN_UNIT}."
    if not (10 <= campaign.seconds <= 86_400 and 0 <= campaign.tolerance < 1):
        return "A unit takes 10 s to a day, and of an answer less than all may differ."
    return ""


def stop(state: State, event: e.StopCampaign, now: float) -> Step:
    """End a campaign before its last unit: what is settled counts for its figures."""
    campaign = state.trials.campaigns.get(event.id)
    if campaign is None or campaign.ended_at:
        what = f"No campaign {event.id!r} is open."
        return state, [d.Refused(what, "`swarm trials list` shows all.", NotFoundError.code)]
    return _end(state, campaign, event.why or "stopped by its maintainer", now)


# ── giving units ─────────────────────────────────────────────────────────────────────────────────


def take(state: State, event: e.TakeUnit, now: float) -> Step:
    """A unit for a key that asks: the one that it has already, else the oldest that it may compute."""
    if banned := bans.refusal(state, event.key):
        return state, [banned]
    state, made = _without_lost(state, now)
    state = replace(state, trials=_heard(state.trials, event.invite, now))
    if why := objection(state, event.key):
        return state, [*made, UnitDenied(why)]
    for campaign, number in _candidates(state.trials, event.key, now):
        unit = state.trials.unit(campaign.id, number)
        if _fits(state.trials, unit, event, now):
            given = Holding(campaign.id, number, event.key, event.invite, now + campaign.seconds)
            after = unit.with_holding(given)
            return _with_unit(state, campaign, number, after), [*made, UnitGiven(campaign, given)]
    return state, [*made, UnitDenied(_nothing(state.trials))]


def objection(state: State, key: str) -> str:
    """Why a key gets no units now: it trains, or too many of its answers were wrong. Empty when it may have some."""
    tally = state.trials.tallies.get(key, Trust(key))
    if tally.condemned and not trust.of(state, key).trusted_by:
        return f"too many answers of this key were wrong; the last one: {tally.why}"
    trains = any(member.key == key for member in state.live)
    if trains and not (state.finished or state.steering.paused or state.halted):
        return "this key trains, and trials must not disturb training: they wait until the run is paused or finished"
    return ""


def _candidates(trials: Trials, key: str, now: float) -> Iterator[tuple[Campaign, int]]:
    """What the key has in its hands, then what others have begun, then what nobody has."""
    mine = [at for at, unit in trials.units.items() if any(_holds(one, key, now) for one in unit.holdings)]
    begun = sorted(at for at, unit in trials.units.items() if not unit.settled)
    named = {campaign.id: campaign for campaign in trials.open}
    yield from ((named[id_], number) for id_, number in (*sorted(mine), *begun) if id_ in named)
    for campaign in trials.open:
        fresh = (number for number in range(campaign.units) if (campaign.id, number) not in trials.units)
        yield from ((campaign, number) for number in fresh)


def _holds(one: Holding, key: str, now: float) -> bool:
    return one.key == key and one.deadline > now


def _fits(trials: Trials, unit: Unit, event: e.TakeUnit, now: float) -> bool:
    """Whether the key may compute the unit: it did not answer it, others are not enough, and its invite is another
    one than theirs, unless no other invite is about.
    """
    if unit.settled or any(one.key == event.key for one in unit.answers):
        return False
    others: list[Answer | Holding] = [
        *unit.answers,
        *(one for one in unit.holdings if one.deadline > now and one.key != event.key),
    ]
    if len(others) >= max(2, len(unit.answers) + 1):
        return False
    theirs = {one.invite for one in others}
    about = {invite for invite, at in trials.heard.items() if now - at < ABOUT}
    return event.invite not in theirs or not about - theirs


def _nothing(trials: Trials) -> str:
    if not trials.open:
        return "no campaign is open"
    return "what is left is with other members, or waits for an answer of others than this key and its invite"


def _heard(trials: Trials, invite: str, now: float) -> Trials:
    recent = {other: at for other, at in trials.heard.items() if now - at < ABOUT}
    return replace(trials, heard={**recent, invite: now})


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


def answer(state: State, event: e.AnswerUnit, now: float) -> Step:
    """Take the answer of a key that was given the unit, once; also late, while the unit is not settled."""
    unit = state.trials.unit(event.campaign, event.unit)
    for known in unit.answers:
        if known.key == event.key:
            return state, [AnswerKnown(known)]
    campaign = state.trials.campaigns.get(event.campaign)
    if campaign is None:
        return state, [_CLOSED]
    if refused := _refusal(state, event, campaign, unit):
        return state, [refused]
    found = Answer(campaign.id, event.unit, event.key, event.invite, now, event.items)
    told = sorted((*unit.answers, found), key=lambda one: (one.at, one.key))  # as the tables keep them
    unit = replace(unit.without(event.key), answers=tuple(told))
    state, made = _settle(_with_unit(state, campaign, event.unit, unit), campaign, event.unit, now)
    return state, [UnitAnswered(found), *made]


def _refusal(state: State, event: e.AnswerUnit, campaign: Campaign, unit: Unit) -> d.Refused | None:
    """What is told to who may not answer, or whose answer is none."""
    if banned := bans.refusal(state, event.key):
        return banned
    if campaign.ended_at or unit.settled or not any(one.key == event.key for one in unit.holdings):
        return _CLOSED
    why = flaw(event.items, *campaign.span(event.unit), writes(campaign.kind))
    what = f"This is no answer to the unit: {why}."
    return d.Refused(what, "Use the same version of garage-swarm.", UsageError.code) if why else None


def agreeing(answers: Sequence[Answer], tolerance: float) -> list[Answer]:
    """The first answers of which at least two tell the same; none when there are no such."""
    for one in answers:
        alike = [other for other in answers if same(one.items, other.items, tolerance)]
        if len(alike) > 1:
            return alike
    return []


def _settle(state: State, campaign: Campaign, number: int, now: float) -> Step:
    """Decide a unit, when its answers suffice; and the campaign with its last unit."""
    unit = state.trials.unit(campaign.id, number)
    right = agreeing(unit.answers, campaign.tolerance)
    if not right and len(unit.answers) < MOST:
        return state, []
    judged = tuple(_judged(state, one, right) for one in unit.answers)
    found = merged([one.items for one in right]) if right else ()
    lean = tuple(replace(one, items=()) for one in judged)  # what they hold is in `found`; the table has all
    state = _with_unit(state, campaign, number, Unit((), lean, True, found, len(right)))
    made: list[d.Decision] = [UnitSettled(campaign, number, judged)]
    for one in judged:
        state, more = _counted(state, one, now)
        made += more
    state, more = _finished(state, campaign, now)
    return state, [*made, *more]


def _judged(state: State, one: Answer, right: Sequence[Answer]) -> Answer:
    """With its verdict, and the number of its receipt, which only a decided answer has."""
    if not right:
        return replace(one, verdict=UNDECIDED, why="no two answers tell the same")
    receipt = state.trials.tallies.get(one.key, Trust(one.key)).made + 1
    if one in right:
        return replace(one, verdict="right", receipt=receipt)
    why = f"unit {one.unit} of campaign {one.campaign} was answered otherwise by {len(right)} others"
    return replace(one, verdict="wrong", why=why, receipt=receipt)


def _counted(state: State, one: Answer, now: float) -> Step:
    """In the key's tally; a key that it condemns is on probation in training, too."""
    if one.verdict == UNDECIDED:
        return state, []
    before = state.trials.tallies.get(one.key, Trust(one.key))
    after = trust.heard(before, one.verdict == "right", one.why, now, needed=0)
    state = replace(state, trials=replace(state.trials, tallies=state.trials.tallies.set(one.key, after)))
    made: list[d.Decision] = [TallyChanged(after)]
    if after.condemned > before.condemned:
        state, more = trust.condemned(state, one.key, f"its answers in trials were wrong; {one.why}", now)
        made += more
    return state, made


# ── the end of a campaign ────────────────────────────────────────────────────────────────────────


def _finished(state: State, campaign: Campaign, now: float) -> Step:
    """The campaign's end, once each of its units is settled."""
    units = (state.trials.unit(campaign.id, number) for number in range(campaign.units))
    return _end(state, campaign, "", now) if all(unit.settled for unit in units) else (state, [])


def _without_lost(state: State, now: float) -> Step:
    """Campaigns end whose checkpoint the run does not keep any more: it went back, or the file was torn."""
    made: list[d.Decision] = []
    for campaign in state.trials.open:
        kept = state.checkpoints.get(campaign.round)
        if kept is None or kept.digest != campaign.digest:
            state, more = _end(state, campaign, "its checkpoint is not kept any more", now)
            made += more
    return state, made


def _end(state: State, campaign: Campaign, why: str, now: float) -> Step:
    """Its figures go into the public record; its units are forgotten (the tables keep their answers)."""
    ended = replace(campaign, ended_at=now, why=why)
    units = [state.trials.unit(campaign.id, number) for number in range(campaign.units)]
    kept = state.trials.units
    for at in [at for at in kept if at[0] == campaign.id]:
        kept = kept.delete(at)
    after = replace(state.trials, campaigns={**state.trials.campaigns, ended.id: ended}, units=kept)
    state, made = findings.append(replace(state, trials=after), "campaign", _told(ended, units), now)
    return state, [CampaignEnded(ended), *made]


def _told(ended: Campaign, units: Sequence[Unit]) -> dict[str, Any]:
    """What the record says of a campaign."""
    found = [item for unit in units for item in unit.found]
    answers = min((unit.agreeing for unit in units if unit.found), default=0)
    named = {name: getattr(ended, name) for name in ("kind", "suite", "suite_digest", "round", "items", "why")}
    return {"campaign": ended.id, "state": ended.digest, **named, **figures(ended.kind, ended.suite, found, answers)}


def _with_unit(state: State, campaign: Campaign, number: int, unit: Unit) -> State:
    units = state.trials.units.set((campaign.id, number), unit)
    return replace(state, trials=replace(state.trials, units=units))
