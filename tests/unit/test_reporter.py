"""How a peer tells the leader how far it is, without a network."""

from __future__ import annotations

import asyncio

from peer.exchange.base import Phase, View
from peer.exchange.closing import Closing, SampleTarget, StepWindow
from peer.exchange.reporter import Reporter
from swarm.proto import exchange_pb2 as pb


async def batches(reporter: Reporter, hold: float, seconds: float) -> list[View]:
    """What a peer sees that does a batch every 10 ms."""
    reporting = asyncio.ensure_future(reporter.keep_reporting(lambda: True))
    views = []
    for number in range(int(seconds * 100)):
        reporter.speak(pb.Progress(round=1, samples=number + 1, hold_seconds=hold))
        views.append(reporter.view)
        await asyncio.sleep(0.01)
    reporting.cancel()
    return views


def seen(closing: Closing, answer_after: float, hold: float) -> list[View]:
    async def play() -> list[View]:
        async def ask(said: pb.Progress) -> pb.SwarmView:
            await asyncio.sleep(answer_after)
            return pb.SwarmView(phase=pb.CLOSING, round=said.round, samples=said.samples, members=2)

        return await batches(Reporter(ask, closing), hold, 1.0)

    return asyncio.run(play())


def test_a_far_leader_is_heard_by_a_peer_whose_batches_are_quicker_than_its_answers() -> None:
    views = seen(SampleTarget(1000), answer_after=0.1, hold=0.0)
    assert views[0].phase is Phase.OPEN
    assert len({view.samples for view in views if view.phase is Phase.CLOSING}) >= 3


def test_an_answer_that_is_held_back_is_given_up_for_news() -> None:
    asked = []

    async def play() -> None:
        async def ask(said: pb.Progress) -> pb.SwarmView:
            asked.append(said.done)
            await asyncio.sleep(60)
            raise AssertionError("nobody waits so long")

        reporter = Reporter(ask, StepWindow(window=60.0, grace=5.0, contributors=1))
        reporting = asyncio.ensure_future(reporter.keep_reporting(lambda: True))
        for done in (False, True):
            reporter.speak(pb.Progress(round=1, samples=8, done=done, hold_seconds=30.0))
            await asyncio.sleep(0.3)
        reporting.cancel()

    asyncio.run(play())
    assert asked == [False, True]


def test_one_lost_report_does_not_end_the_reporting() -> None:
    answers = [TimeoutError(), pb.SwarmView(phase=pb.CLOSING, round=1)]

    async def play() -> View:
        async def ask(said: pb.Progress) -> pb.SwarmView:
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        reporter = Reporter(ask, SampleTarget(8))
        await asyncio.wait([asyncio.ensure_future(reporter.keep_reporting(lambda: True))], timeout=0.5)
        return reporter.view

    assert asyncio.run(play()).phase is Phase.CLOSING
