"""The leader's side of a round, without a network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from peer.exchange.belief import Told
from peer.exchange.closing import Closing, Rules, SampleTarget, StepWindow
from peer.exchange.leader import Leader
from peer.exchange.rounds import Member
from swarm.proto import exchange_pb2 as pb

Answer = TypeVar("Answer")
OWN, OTHER, THIRD = b"own", b"other", b"third"


def test_who_forms_a_group_and_hears_of_a_later_round_is_told_at_once() -> None:
    async def play() -> pb.Group:
        members = [Member(float(number), peer) for number, peer in enumerate((OWN, OTHER, THIRD))]
        leader = Leader(OWN, Rules(SampleTarget(80), grace=60.0, patience=60.0), lambda: members)
        leader.progress(OTHER, pb.Progress(round=0))
        forming = asyncio.ensure_future(leader.ready(OWN, pb.ReadyRequest(round=0, samples=8, digest="same")))
        await asyncio.sleep(0.1)
        assert not forming.done()
        assert leader.progress(OTHER, pb.Progress(round=4)).phase == pb.AHEAD
        await asyncio.sleep(0.1)
        assert not forming.done(), "one member's word"
        assert leader.progress(THIRD, pb.Progress(round=3)).phase == pb.AHEAD
        return await asyncio.wait_for(forming, 1.0)

    group = asyncio.run(play())
    assert group.verdict == pb.RETRY
    assert group.why == "others are in round 3"


def test_the_round_waits_for_who_catches_up_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.exchange.leader._TICK", 0.004)  # its clock is ours; between two looks real time passes

    async def seconds_of(leader: Leader, now: list[float], round_: int) -> float:
        leader.advance(round_)
        leader.progress(OTHER, pb.Progress(round=round_, catching_up=True))
        for peer in (OWN, THIRD):
            leader.progress(peer, pb.Progress(round=round_, samples=4))
        ready = pb.ReadyRequest(round=round_, samples=4, digest="same")
        began, forming = now[0], [asyncio.ensure_future(leader.ready(peer, ready)) for peer in (OWN, THIRD)]
        while not forming[0].done():
            now[0] += 0.5
            await asyncio.sleep(0.005)
        assert (await forming[0]).verdict == pb.GO
        return now[0] - began

    async def play() -> list[float]:
        members = [Member(float(number), peer) for number, peer in enumerate((OWN, OTHER, THIRD))]
        now = [1.0]
        rules = Rules(SampleTarget(8), grace=5.0, patience=60.0)
        leader = Leader(OWN, rules, lambda: members, lambda: now[0])
        return [await seconds_of(leader, now, round_) for round_ in range(7)]

    waited = asyncio.run(play())
    assert 60 <= waited[0] < 62, "the first time as long as an exchange may take"
    assert all(5 <= seconds < 7 for seconds in waited[1:5])
    assert all(seconds < 5 for seconds in waited[5:])


def test_a_round_waits_for_its_contributors_and_says_so() -> None:
    members = [Member(float(number), peer) for number, peer in enumerate((OWN, OTHER, THIRD))]
    leader = Leader(OWN, Rules(SampleTarget(8, contributors=3), grace=5.0, patience=60.0), lambda: members)
    assert leader.progress(OTHER, pb.Progress(samples=4)).why == "4 of 8 samples"
    view = leader.progress(OWN, pb.Progress(samples=8))
    assert (view.phase, view.why) == (pb.OPEN, "2 of 3 contributors")
    assert leader.progress(THIRD, pb.Progress(samples=1)).phase == pb.CLOSING


@pytest.mark.parametrize(("told", "later"), [(0, 0), (2, 2), (9, 4)])
def test_one_word_counts_when_the_coordinator_says_so_too(told: int, later: int) -> None:
    async def play() -> int:
        members = [Member(float(number), peer) for number, peer in enumerate((OWN, OTHER, THIRD))]
        leader = Leader(OWN, Rules(SampleTarget(8), grace=60.0, patience=60.0), lambda: members)
        leader.hearsay.ask = lambda: _said(Told(told))
        leader.progress(OTHER, pb.Progress(round=4))
        await asyncio.sleep(0.01)
        return leader.behind_of

    assert asyncio.run(play()) == later


def test_who_gave_its_vote_for_the_next_round_does_not_speak_against_it() -> None:
    members = [Member(1.0, OWN), Member(2.0, OTHER)]
    leader = Leader(OWN, Rules(SampleTarget(8), grace=60.0, patience=60.0), lambda: members)

    async def play() -> int:
        leader.progress(OTHER, pb.Progress(round=1))
        return leader.behind_of

    assert asyncio.run(play()) == 0
    leader.hearsay.voted = lambda: 1
    assert asyncio.run(play()) == 1


def leading(*peers: bytes, grace: float, clock: Callable[[], float] = lambda: 1.0) -> Leader:
    members = [Member(float(number), peer) for number, peer in enumerate(peers)]
    return Leader(OWN, Rules(SampleTarget(8), grace=grace, patience=60.0), lambda: members, clock)


def test_who_waits_at_a_peer_that_does_not_lead_any_more_is_told_so() -> None:
    async def play() -> pb.Group:
        leader = leading(OWN, OTHER, grace=60.0)
        leader.progress(OTHER, pb.Progress(samples=4))
        forming = asyncio.ensure_future(leader.ready(OWN, pb.ReadyRequest(samples=4, digest="same")))
        await asyncio.sleep(0.1)
        leader.step_down()
        return await asyncio.wait_for(forming, 1.0)

    assert asyncio.run(play()).why == "another peer leads the round now"


def test_the_samples_of_who_was_not_ready_do_not_close_the_round_again() -> None:
    async def play() -> tuple[pb.Group, pb.SwarmView]:
        now = [1.0]
        leader = leading(OWN, OTHER, grace=5.0, clock=lambda: now[0])
        leader.progress(OTHER, pb.Progress(samples=4))
        forming = asyncio.ensure_future(leader.ready(OWN, pb.ReadyRequest(samples=4, digest="same")))
        await asyncio.sleep(0.1)
        now[0] += 6.0
        return await asyncio.wait_for(forming, 1.0), leader.progress(OWN, pb.Progress(samples=4))

    group, view = asyncio.run(play())
    assert group.why == "the ready peers have 4 of 8 samples; the round goes on"
    assert view.phase == pb.OPEN


def test_a_group_does_not_wait_for_a_member_whose_machine_takes_no_calls() -> None:
    async def play() -> pb.Group:
        leader = leading(OWN, OTHER, THIRD, grace=60.0, clock=time.monotonic)
        leader.lives = lambda peer: _said(peer != THIRD)
        for peer in (OWN, OTHER, THIRD):
            leader.progress(peer, pb.Progress(samples=4))
        others = [leader.ready(peer, pb.ReadyRequest(samples=4, digest="same")) for peer in (OWN, OTHER)]
        return (await asyncio.wait_for(asyncio.gather(*others), 5.0))[0]

    assert [member.peer_id for member in asyncio.run(play()).members] == [OTHER, OWN]


async def _said(answer: Answer) -> Answer:
    return answer


class Weighing(Leader):
    """Whose seal says "light" is on probation."""

    def _share(self, seal: bytes) -> float:
        return 0.0 if seal == b"light" else 1.0


def test_what_weighs_nothing_does_not_close_the_round_once_that_is_known() -> None:
    now = [1.0]

    async def play() -> tuple[pb.SwarmView, list[pb.Group], pb.SwarmView, pb.SwarmView]:
        members = [Member(1.0, OWN), Member(2.0, OTHER)]
        leader = Weighing(OWN, Rules(SampleTarget(8), grace=5.0, patience=60.0), lambda: members, lambda: now[0])
        leader.progress(OTHER, pb.Progress(samples=7))
        before = leader.progress(OWN, pb.Progress(samples=1))
        light = pb.ReadyRequest(samples=7, digest="same", seal=b"light")
        words = (leader.ready(OWN, pb.ReadyRequest(samples=1, digest="same")), leader.ready(OTHER, light))
        groups = list(await asyncio.wait_for(asyncio.gather(*words), 1.0))
        leader.progress(OTHER, pb.Progress(samples=70))
        after = leader.progress(OWN, pb.Progress(samples=2))
        now[0] += 61  # it may be trusted by now
        return before, groups, after, leader.progress(OWN, pb.Progress(samples=2))

    before, groups, after, later = asyncio.run(play())
    assert before.phase == pb.CLOSING
    assert {group.verdict for group in groups} == {pb.RETRY}
    assert all("1 of 8 samples, without those on probation" in group.why for group in groups)
    assert (after.phase, after.samples) == (pb.OPEN, 2)
    assert later.phase == pb.CLOSING


def test_who_takes_no_samples_in_a_round_neither_hurries_nor_holds_up_the_others() -> None:
    now = [1.0]
    members = [Member(float(number), peer) for number, peer in enumerate((OWN, OTHER, THIRD))]
    rules = Rules(StepWindow(window=60.0, grace=5.0, contributors=1), grace=5.0, patience=60.0)
    leader = Leader(OWN, rules, lambda: members, lambda: now[0])
    leader.progress(THIRD, pb.Progress(samples=0, done=True))
    leader.progress(OWN, pb.Progress(samples=4))
    now[0] += 30.0
    assert leader.progress(OTHER, pb.Progress(samples=4)).phase == pb.OPEN
    leader.progress(OWN, pb.Progress(samples=8, done=True))
    assert leader.progress(OTHER, pb.Progress(samples=8, done=True)).phase == pb.CLOSING


def test_a_leader_with_another_average_does_not_replace_the_outcome_by_its_own() -> None:
    leader = leading(OWN, OTHER, grace=1.0)
    leader.remember(b"group", pb.Outcome(verdict=pb.GO, digest="theirs"))
    leader.remember(b"group", pb.Outcome(verdict=pb.RESYNC))
    told = asyncio.run(leader.commit(OTHER, pb.CommitRequest(group_id=b"group", complete=True, digest="theirs")))
    assert told.verdict == pb.GO


async def _made(leader: Leader, *peers: bytes) -> None:
    """A round that these peers end together."""
    for peer in peers:
        leader.progress(peer, pb.Progress(round=leader.round, samples=8, done=True))
    ready = pb.ReadyRequest(round=leader.round, samples=8, digest="same")
    groups = await asyncio.gather(*(leader.ready(peer, ready) for peer in peers))
    commit = pb.CommitRequest(group_id=groups[0].group_id, complete=True, digest="average", norm=1.0)
    outcomes = await asyncio.gather(*(leader.commit(peer, commit) for peer in peers))
    assert {outcome.verdict for outcome in outcomes} == {pb.GO}


@pytest.mark.parametrize("closing", [StepWindow(window=60.0, grace=5.0, contributors=1), SampleTarget(16)])
def test_who_made_the_last_round_is_waited_for_before_it_speaks_in_this_one(
    closing: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may still be taking the step, or train on while its update travels. Who does not come is missed once."""
    monkeypatch.setattr("peer.exchange.leader._TICK", 0.004)  # its clock is ours; between two looks real time passes
    now = [1.0]

    async def seconds_without(peer: bytes, leader: Leader) -> float:
        began, made = now[0], asyncio.ensure_future(_made(leader, *{OWN, OTHER, THIRD} - {peer}))
        while not made.done():
            now[0] += 0.5
            await asyncio.sleep(0.02)
        await made
        return now[0] - began

    async def play() -> list[float]:
        members = [Member(float(number), peer) for number, peer in enumerate((OWN, OTHER, THIRD))]
        leader = Leader(OWN, Rules(closing, grace=5.0, patience=60.0), lambda: members, lambda: now[0])
        await _made(leader, OWN, OTHER, THIRD)
        return [await seconds_without(THIRD, leader) for _ in range(2)]

    first, second = asyncio.run(play())
    assert 5.0 <= first < 13.0
    assert second < 5.0


def test_a_round_ends_when_nobody_who_has_samples_may_take_more() -> None:
    """OTHER does another member's round again and takes none; THIRD is on probation: its samples weigh nothing."""

    async def play() -> pb.Group:
        members = [Member(1.0, OWN), Member(2.0, OTHER), Member(3.0, THIRD, light=True)]
        leader = Leader(OWN, Rules(SampleTarget(80), grace=0.2, patience=60.0), lambda: members)
        leader.progress(OTHER, pb.Progress(round=0, done=True))
        leader.progress(THIRD, pb.Progress(round=0))
        assert leader.progress(OWN, pb.Progress(round=0, samples=8)).phase == pb.OPEN
        view = leader.progress(OWN, pb.Progress(round=0, samples=8, done=True))
        assert (view.phase, view.why) == (pb.CLOSING, "no peer may take more samples in this round")
        words = {OWN: pb.ReadyRequest(samples=8, full=True), OTHER: pb.ReadyRequest(), THIRD: pb.ReadyRequest()}
        forming = [leader.ready(peer, word) for peer, word in words.items()]
        return (await asyncio.wait_for(asyncio.gather(*forming), 5.0))[0]

    assert asyncio.run(play()).verdict == pb.GO


def test_who_finds_nothing_to_do_at_first_is_not_left_out_once_it_does() -> None:
    """OWN may take no more, so the round was about to end; then THIRD begins. An attempt that broke leaves no mark."""

    async def play() -> list[int]:
        members = [Member(float(number), peer) for number, peer in enumerate((OWN, THIRD))]
        leader = Leader(OWN, Rules(SampleTarget(80), grace=0.2, patience=1.0), lambda: members)
        seen = [leader.progress(OWN, pb.Progress(round=0, samples=8, done=True)).phase]
        forming = asyncio.ensure_future(leader.ready(OWN, pb.ReadyRequest(samples=8, full=True)))
        seen.append(leader.progress(THIRD, pb.Progress(round=0, samples=20)).phase)
        assert (await asyncio.wait_for(forming, 5.0)).verdict == pb.RETRY
        seen.append(leader.progress(THIRD, pb.Progress(round=0, samples=72)).phase)
        return seen

    assert asyncio.run(play()) == [pb.CLOSING, pb.OPEN, pb.CLOSING]
