"""When a round closes, and over which member payloads travel."""

from __future__ import annotations

import pytest

from peer.exchange.closing import Said, SampleTarget, StepWindow, rules_of
from peer.exchange.relays import relay_of
from swarm.runspec import example

WINDOW = StepWindow(window=60.0, grace=5.0, contributors=2)
A, B, C, D = b"a", b"b", b"c", b"d"


def test_gradient_mode_closes_when_the_swarm_has_its_samples() -> None:
    assert not SampleTarget(8).due([Said(4), Said(3)], 1e9, 1e9)
    assert SampleTarget(8).due([Said(4), Said(4)], 0, 0)
    assert SampleTarget(8).lacks([Said(4), Said(3)]) == "7 of 8 samples"


@pytest.mark.parametrize(
    ("mode", "aggregation", "waits_for"),
    [("gradient", "mean", 5), ("gradient", "centered_clip", 5), ("local", "mean", 5)],
)
def test_the_run_says_how_many_a_round_needs(mode: str, aggregation: str, waits_for: int) -> None:
    spec = example()
    training = spec.training.model_copy(update={"mode": mode})
    exchange = spec.exchange.model_copy(update={"min_contributors": 5, "aggregation": aggregation})
    rules = rules_of(spec.model_copy(update={"training": training, "exchange": exchange}))
    four = [Said(100, done=True)] * 4
    assert rules.closing.lacks(four) == "4 of 5 contributors"
    assert not rules.closing.lacks([*four, Said(100)])
    assert rules.contributors == waits_for


def test_gradient_mode_closes_when_nobody_may_take_more() -> None:
    assert not SampleTarget(8).due([Said(4, done=True), Said(3)], 1e9, 1e9)
    assert SampleTarget(8).due([Said(4, done=True), Said(3, done=True)], 0, 0)
    assert not SampleTarget(8).lacks([Said(4, done=True), Said(3, done=True)])
    assert not SampleTarget(8).lacks([Said(4, done=True), Said(0)]), "who weighs nothing, or has begun nothing"
    assert SampleTarget(8).lacks([Said(0, done=True)]) == "0 of 8 samples", "all do others' rounds again"


def test_local_mode_closes_when_all_have_done_their_steps() -> None:
    assert WINDOW.due([Said(8, done=True), Said(4, done=True)], 1.0, 0.0) == "all peers have done their steps"
    assert not WINDOW.due([Said(8, done=True), Said(4)], 1.0, 0.0)


def test_the_first_waits_for_the_slow_no_longer_than_grace() -> None:
    assert not WINDOW.due([Said(8, done=True), Said(4)], 10.0, 4.9)
    assert WINDOW.due([Said(8, done=True), Said(4)], 10.0, 5.0)


def test_a_round_ends_when_its_time_is_over_though_nobody_is_done() -> None:
    assert not WINDOW.due([Said(8), Said(4)], 59.0, 0.0)
    assert WINDOW.due([Said(8), Said(4)], 60.0, 0.0) == "the round's time is over"


def test_a_round_needs_its_contributors() -> None:
    assert not SampleTarget(8, contributors=3).due([Said(8, done=True), Said(8, done=True), Said(0)], 1e9, 1e9)
    assert SampleTarget(8, contributors=2).due([Said(4), Said(4)], 0, 0)
    assert not WINDOW.due([Said(8, done=True), Said(0)], 1e9, 1e9)
    assert WINDOW.lacks([Said(8), Said(0)]) == "1 of 2 contributors"


def test_the_leader_hears_at_once_what_may_close_the_round_and_no_more() -> None:
    assert SampleTarget(8).news(Said(3), Said(4))
    assert not WINDOW.news(Said(4), Said(8))
    assert WINDOW.news(Said(0), Said(4))
    assert WINDOW.news(Said(8), Said(8, done=True))


def test_equal_links_need_no_relay() -> None:
    assert relay_of([A, B, C, D], dict.fromkeys([A, B, C, D], 2.5e6), [A, B, C, D]) == b""


def test_a_fat_member_relays_for_thin_ones() -> None:
    rates = {A: 2.5e6, B: 2.5e6, C: 2.5e6, D: 100e6}
    assert relay_of([A, B, C, D], rates, [A, B, C, D]) == D


def test_who_cannot_be_dialled_or_was_not_measured_does_not_relay() -> None:
    rates = {A: 2.5e6, B: 2.5e6, C: 2.5e6, D: 100e6}
    assert relay_of([A, B, C, D], rates, [A, B, C]) == b""
    assert relay_of([A, B, C, D], {**rates, A: 0.0}, [A, B, C, D]) == b""


def test_a_node_outside_is_tried_once_and_then_only_when_it_is_fast() -> None:
    rates = dict.fromkeys([A, B, C], 2.5e6)
    assert relay_of([A, B, C], rates, [A, B, C], [D]) == D
    assert relay_of([A, B, C], {**rates, D: 100e6}, [A, B, C], [D]) == D
    assert relay_of([A, B, C], {**rates, D: 2.5e6}, [A, B, C], [D]) == b""
    assert relay_of([A, B], rates, [A, B], [D]) == b""
