"""Campaigns spread over volunteers: no unit is lost, none counts twice, and who was wrong is told apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import decisions as d
from coordinator import events as e
from coordinator.records import Ban, Trust
from coordinator.state import State
from coordinator.steering import Course
from coordinator.tick import tick
from coordinator.trialrecords import (
    UNDECIDED,
    AnswerKnown,
    CampaignEnded,
    CampaignStarted,
    Recorded,
    UnitAnswered,
    UnitDenied,
    UnitGiven,
    UnitSettled,
)
from coordinator.trials import ABOUT, MOST
from coordinator.trust import CONDEMNED
from tests.campaigns import NOW, Story, campaign, started, truth
from tests.histories import START, fresh

SEEDS = st.integers(0, 10_000)


def take(state: State, key: str, invite: str = "i", now: float = NOW) -> tuple[State, UnitGiven | UnitDenied]:
    state, made = tick(state, [e.TakeUnit(key, invite)], now, 1)
    [answered] = [one for one in made if isinstance(one, UnitGiven | UnitDenied)]
    return state, answered


def given_(state: State, key: str, invite: str = "i", now: float = NOW) -> tuple[State, UnitGiven]:
    state, found = take(state, key, invite, now)
    assert isinstance(found, UnitGiven), found
    return state, found


def why(state: State, key: str, invite: str = "i", now: float = NOW) -> str:
    found = take(state, key, invite, now)[1]
    assert isinstance(found, UnitDenied)
    return found.why


def answered(state: State, unit: UnitGiven, shift: float = 0.0, now: float = NOW) -> tuple[State, list[d.Decision]]:
    held = unit.holding
    items = truth(held, unit.campaign, shift)
    return tick(state, [e.AnswerUnit(held.key, held.invite, held.campaign, held.unit, items)], now, 1)


def verdicts(made: list[d.Decision]) -> dict[str, str]:
    return {one.key: one.verdict for found in made if isinstance(found, UnitSettled) for one in found.answers}


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, keys=st.integers(2, 7), liars=st.integers(0, 3), invites=st.integers(1, 4))
def test_no_unit_has_two_answers_of_a_key_and_none_is_settled_twice(
    seed: int, keys: int, liars: int, invites: int
) -> None:
    story = Story(seed, keys, liars, invites)
    told, settled, decided = Counter[tuple[str, int, str]](), Counter[tuple[str, int]](), Counter[str]()
    for _, made, state, _ in story.steps(120):
        told.update((x.answer.campaign, x.answer.unit, x.answer.key) for x in made if isinstance(x, UnitAnswered))
        settled.update((x.campaign.id, x.number) for x in made if isinstance(x, UnitSettled))
        decided.update(key for key, verdict in verdicts(made).items() if verdict != UNDECIDED)
        for unit in state.trials.units.values():
            assert unit.settled or len(unit.answers) < MOST
            assert not {one.key for one in unit.answers} & {one.key for one in unit.holdings}
        assert {key: tally.made for key, tally in state.trials.tallies.items()} == decided
    assert set(told.values()) <= {1}
    assert set(settled.values()) <= {1}


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, invites=st.integers(1, 3))
def test_among_honest_keys_every_campaign_ends_with_the_true_figure(seed: int, invites: int) -> None:
    story = Story(seed, keys=4, liars=0, invites=invites)
    list(story.steps(60))
    state, now = story.state, story.now + 1000.0
    for turn in range(400):
        now += 1.0
        key = f"k{turn % 4}"
        state, found = take(state, key, story.invite(key), now)
        if isinstance(found, UnitGiven):
            state, made = answered(state, found, now=now)
            assert "wrong" not in verdicts(made).values()
    assert not state.trials.open
    assert not state.trials.units
    assert all(tally.made == tally.clean for tally in state.trials.tallies.values())


# ── giving ───────────────────────────────────────────────────────────────────────────────────────


def test_who_asks_again_gets_the_same_unit_and_two_keys_get_it_and_a_third_does_not() -> None:
    state, of = started(of=campaign(4, 4))
    state, first = given_(state, "k1")
    state, again = given_(state, "k1", now=NOW + 5)
    assert again.holding == replace(first.holding, deadline=NOW + 5 + of.seconds)
    state, other = given_(state, "k2")
    assert other.holding.unit == first.holding.unit
    assert "is with other members" in why(state, "k3")
    state, third = given_(state, "k3", now=NOW + 200)  # the time of both ran out
    assert third.holding.unit == first.holding.unit


def test_the_second_answer_is_of_another_invite_where_one_is_about() -> None:
    state, _ = started(of=campaign(4, 4))
    state, _ = take(state, "k9", "other")
    state, _ = given_(state, "k1", "i", NOW + 150)
    assert "others than this key and its invite" in why(state, "k2", "i", NOW + 150)
    state, _ = given_(state, "k3", "other", NOW + 150)


def test_with_one_invite_alone_its_keys_do() -> None:
    state, _ = started(of=campaign(4, 4))
    state, _ = take(state, "k9", "other")
    state, _ = given_(state, "k1", "i", NOW + ABOUT + 1)
    given_(state, "k2", "i", NOW + ABOUT + 2)


def test_who_trains_gets_none_until_the_run_is_paused() -> None:
    state, _ = started()
    state, _ = tick(state, [e.Join("k1", b"k" * 32, "anna", "1", invite="i", session="s")], NOW, 1)
    assert "must not disturb training" in why(state, "k1")
    state, _ = tick(state, [e.Steer(Course.PAUSED, "", "m")], NOW, 1)
    given_(state, "k1")


def test_a_banned_key_gets_none() -> None:
    state, _ = started()
    state = replace(state, bans={"k1": Ban("k1", "anna", "lies", NOW)})
    _, made = tick(state, [e.TakeUnit("k1", "i")], NOW, 1)
    assert any(isinstance(one, d.Refused) for one in made)


def test_without_a_campaign_there_is_nothing() -> None:
    assert why(fresh(), "k1") == "no campaign is open"


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


def test_two_that_agree_settle_a_unit_and_the_campaign_ends_in_the_record() -> None:
    state, _ = started(of=campaign(3, 4))
    state, one = given_(state, "k1")
    state, two = given_(state, "k2")
    state, made = answered(state, one)
    assert not verdicts(made)
    state, made = answered(state, two, shift=0.005)  # another machine rounds otherwise
    assert verdicts(made) == {"k1": "right", "k2": "right"}
    [entry] = [one.entry for one in made if isinstance(one, Recorded)]
    loss, perplexity = entry.said["figures"]
    assert loss == {"suite": "heldout", "metric": "loss", "value": 12.0 / 24.0, "samples": 3, "answers": 2}
    assert perplexity["value"] == pytest.approx(1.6487, abs=1e-4)
    assert any(isinstance(one, CampaignEnded) for one in made)


def test_a_third_decides_and_who_was_wrong_is_told() -> None:
    state, _ = started(of=campaign(4, 4))
    state, honest = given_(state, "k1")
    state, liar = given_(state, "k2")
    state, _ = answered(state, honest)
    state, made = answered(state, liar, shift=0.5)
    assert not verdicts(made)
    state, third = given_(state, "k3")
    state, made = answered(state, third)
    assert verdicts(made) == {"k1": "right", "k2": "wrong", "k3": "right"}
    assert [str(one) for one in made if isinstance(one, UnitSettled)] == [
        "k2 answered otherwise than the others to unit 0 of campaign C1."
    ]
    assert state.trials.tallies["k2"].clean == 0 < state.trials.tallies["k1"].clean
    assert not state.trust  # one wrong answer proves nothing


def test_a_key_that_goes_on_lying_is_condemned_here_and_on_probation_there() -> None:
    state, _ = started(of=campaign(40, 1))
    wrong = 0
    while not state.trust and wrong < 10:
        for key, shift in (("k1", 0.0), ("k2", 0.5), ("k3", 0.0)):
            state, found = given_(state, key)
            state, _ = answered(state, found, shift)
        wrong += 1
    assert wrong == 3
    assert state.trust["k2"].condemned == 1
    assert state.trust["k2"].evidence < CONDEMNED
    assert "too many answers of this key were wrong" in why(state, "k2")
    state, _ = tick(state, [e.TrustKey("k2", "ben", "m", "its memory was replaced")], NOW, 1)
    given_(state, "k2")


def test_a_unit_in_which_all_differ_is_left_out_and_nobody_is_blamed() -> None:
    state, _ = started(of=campaign(2, 2))
    made: list[d.Decision] = []
    for number in range(MOST):
        state, found = given_(state, f"k{number}")
        state, made = answered(state, found, shift=float(number))
    assert set(verdicts(made).values()) == {"undecided"}
    assert not state.trials.tallies
    [entry] = [one.entry for one in made if isinstance(one, Recorded)]
    assert entry.said["figures"] == []


def test_an_answer_counts_once_and_only_from_who_was_asked() -> None:
    state, _ = started(of=campaign(4, 4))
    state, unit = given_(state, "k1")
    state, _ = answered(state, unit)
    state, made = answered(state, unit, shift=3.0)
    assert [type(one) for one in made] == [AnswerKnown]
    stranger = replace(unit, holding=replace(unit.holding, key="k7"))
    after, made = answered(state, stranger)
    assert after == state
    assert any(isinstance(one, d.Refused) for one in made)


def test_an_answer_that_is_none_changes_nothing() -> None:
    state, of = started(of=campaign(4, 4))
    state, unit = given_(state, "k1")
    items = truth(unit.holding, of)
    figures = ({"value": float("inf")}, {"value": 1e308}, {"weight": 1e308}, {"weight": 0.0})  # no sum holds them
    for odd in ((), items[:3], items[::-1], *((replace(items[0], **found), *items[1:]) for found in figures)):
        after, made = tick(state, [e.AnswerUnit("k1", "i", of.id, 0, odd)], NOW, 1)
        assert after == state
        assert any(isinstance(one, d.Refused) for one in made)


def test_a_late_answer_counts_while_the_unit_is_open() -> None:
    state, _ = started(of=campaign(4, 4))
    state, slow = given_(state, "k1")
    state, quick = given_(state, "k2", now=NOW + 500)
    state, _ = answered(state, quick, now=NOW + 500)
    _, made = answered(state, slow, now=NOW + 600)
    assert verdicts(made) == {"k1": "right", "k2": "right"}


# ── campaigns ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "odd", [campaign(0), campaign(4, 0), campaign(30_000), campaign(seconds=1.0), campaign(tolerance=1.0)]
)
def test_a_campaign_has_bounds(odd: object) -> None:
    state, made = tick(fresh(), [e.StartCampaign(odd)], NOW, 1)  # type: ignore[arg-type]
    assert not state.trials.campaigns
    assert any(isinstance(one, d.Refused) for one in made)


def test_a_campaign_is_of_a_checkpoint_that_is_kept_and_ends_when_it_goes() -> None:
    _, made = tick(fresh(), [e.StartCampaign(replace(campaign(), digest="another"))], NOW, 1)
    assert not any(isinstance(one, CampaignStarted) for one in made)
    state, _ = started()
    state = replace(state, checkpoints={0: replace(START, digest="another")})
    state, made = tick(state, [e.TakeUnit("k1", "i")], NOW, 1)
    [ended] = [one for one in made if isinstance(one, CampaignEnded)]
    assert str(ended) == "Campaign C1 ended: its checkpoint is not kept any more."
    assert not state.trials.open


def test_a_stopped_campaign_tells_what_was_settled() -> None:
    state, _ = started(of=campaign(8, 4))
    for key in ("k1", "k2"):
        state, found = given_(state, key)
        state, _ = answered(state, found)
    state, made = tick(state, [e.StopCampaign("C1", "enough")], NOW, 1)
    [entry] = [one.entry for one in made if isinstance(one, Recorded)]
    assert (entry.said["why"], entry.said["figures"][0]["samples"]) == ("enough", 4)
    assert state.trials.tallies["k1"] == Trust("k1", state.trials.tallies["k1"].evidence, 1, 1, at=NOW)
