"""How far this peer is, told to the round's leader again and again; the leader's newest view, kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from peer.exchange.base import Phase, View
from peer.exchange.closing import Closing, Said
from peer.exchange.node import NETWORK_ERRORS
from swarm import log
from swarm.proto import exchange_pb2 as pb

logger = log.get(__name__)

_SECONDS = 0.2  # how often the leader is asked even when nothing changed
_PHASES = {pb.OPEN: Phase.OPEN, pb.CLOSING: Phase.CLOSING, pb.BEHIND: Phase.BEHIND, pb.AHEAD: Phase.OPEN}


class Reporter:
    """`ask` brings a word to the leader and its view back; it raises one of NETWORK_ERRORS. Runs in one event loop."""

    def __init__(self, ask: Callable[[pb.Progress], Awaitable[pb.SwarmView]], closing: Closing) -> None:
        self.view = View(Phase.OPEN, 0, 0, 1, "looking for the others")
        self.said = pb.Progress()
        self._ask = ask
        self._closing = closing
        self._complaint = ""
        self._news = asyncio.Event()

    def speak(self, said: pb.Progress) -> None:
        """Take this peer's newest word; the leader hears at once what it must."""
        before, self.said = self.said, said
        if before.round != said.round or self._closing.news(_word(before), _word(said)):
            self._news.set()

    async def keep_reporting(self, active: Callable[[], bool]) -> None:
        """Report while this peer is `active`, for ever."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _SECONDS)
            self._news.clear()
            if not active():
                continue
            try:
                await self._report(self.said)
            except NETWORK_ERRORS as error:
                self._complain(f"progress was not heard: {error!r}")

    def _complain(self, text: str) -> None:
        """Once, until there is another reason: who is refused hears it every time."""
        if text != self._complaint:
            logger.info("%s", text)
        self._complaint = text

    async def _report(self, said: pb.Progress) -> None:
        """An answer that the leader holds back is given up for news; one that is on its way is awaited: on a long
        link with quick batches there would always be news before any answer.
        """
        report = asyncio.ensure_future(self._ask(said))
        news = asyncio.ensure_future(self._news.wait())
        await asyncio.wait([report, news] if said.hold_seconds else [report], return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        if report.done():
            self.view = _read(report.result(), said)
        else:
            report.cancel()


def _word(said: pb.Progress) -> Said:
    return Said(said.samples, said.done)


def _read(view: pb.SwarmView, said: pb.Progress) -> View:
    phase = _PHASES.get(view.phase, Phase.OPEN)
    return View(phase, max(view.round, said.round), view.samples, view.members, view.why)
