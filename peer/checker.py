"""A checker at work: it is told whom to watch, keeps what it needs of one round, and does that round again in steps.

Meanwhile it takes part in its own rounds without samples of its own, so nobody waits for it and it falls behind nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from peer import gradient_check
from peer.bridge import Bridge
from peer.exchange.base import Applied
from peer.feed import Shelf
from peer.gradient_check import KeptGradient
from peer.learner import GradientLearner, Learner
from peer.local_mode import LocalLearner
from peer.recomputation import Kept, Load, Steps, Subject, examined
from peer.spotcheck import Verdict
from swarm import log
from swarm.errors import SwarmError, UnreachableError
from swarm.ranges import Range

logger = log.get(__name__)

_PATIENCE_SECONDS = 120.0  # for the watched member's report
_ASK_AGAIN_SECONDS = 1.0
_ROUNDS, _SECONDS = 8, 600.0  # in which the watched member may have no part, before the check is given up for others
_OUTCOMES = {True: "passed", False: "failed", None: "given up"}


# Does what was kept of a round again.
Again = Callable[[Subject, Load], Steps]


class Order(NamedTuple):
    """What the coordinator asks for: a check, whom to watch, and from which round on."""

    check: str = ""
    member: str = ""
    since: int = 0


@dataclass
class Watch:
    """One check. `subject` comes once the member's report is filed; `steps` are under way."""

    check: str
    round: int
    again: Again
    subject: Future[Subject | None]
    steps: Steps | None = None


@dataclass
class Missed:
    """In how many rounds nothing was of the member that a check is about, since when (monotonic seconds)."""

    check: str = ""
    since: float = 0.0
    rounds: int = 0


class Checker:
    """`ask` gives what a check is about, None before that is known; `tell` hears how it ended.

    All but `told` is called by the training thread.
    """

    def __init__(
        self, ask: Callable[[str, int], Subject | None], tell: Callable[[str, int, Verdict], None], shelf: Shelf
    ) -> None:
        self._ask = ask
        self._tell = tell
        self._shelf = shelf
        self._order = Order()
        self._begun = ""  # the check for which a round was kept
        self._missed = Missed()
        self._watch: Watch | None = None
        self._waiting = ThreadPoolExecutor(1, "checker")

    def told(self, check: str, member: str, since: int) -> None:
        """By the coordinator, again and again. From any thread."""
        self._order = Order(check, member, since)

    def awaits(self, round_: int) -> str:
        """Of whose update a check needs that round's; as a rule nobody's."""
        order = self._order
        return order.member if self._due(order, round_) else ""

    def keep(self, learner: Learner, result: Applied) -> None:
        """Before a round's step: keep of it what a check needs, if one waits for that."""
        order = self._order
        if not self._due(order, learner.round):
            return
        if not (again := kept_of(learner, result, order.member)):
            self._miss(order, learner.round)
            return
        self._begun = order.check
        subject = self._waiting.submit(self._await_subject, order.check, learner.round)
        self._watch = Watch(order.check, learner.round, again, subject)
        logger.info("round %d of %s is kept for a spot check", learner.round, order.member)

    def _miss(self, order: Order, round_: int) -> None:
        """Who only says that it is there would keep this checker from all others."""
        if self._missed.check != order.check:
            self._missed = Missed(order.check, time.monotonic())
        self._missed.rounds += 1
        if self._missed.rounds >= _ROUNDS and time.monotonic() - self._missed.since >= _SECONDS:
            self._begun = order.check
            self._tell(
                order.check, round_, Verdict(None, f"nothing of the member's was in {self._missed.rounds} rounds")
            )

    @property
    def busy(self) -> bool:
        """Whether there is a round to do again."""
        return self._watch is not None and self._watch.subject.done()

    def step(self) -> None:
        """One step of it. The learner must have begun nothing in its round. Raises CorruptError, ModelError, …"""
        watch = self._watch
        if watch is None:
            return
        try:
            watch.steps = watch.steps or self._begin(watch)
            next(watch.steps)
        except StopIteration as end:
            self._end(watch, end.value)

    def give_up(self, why: str) -> None:
        """The one under way, if there is one: what this peer holds cannot be trusted."""
        if self._watch:
            self._end(self._watch, Verdict(None, why))

    def _due(self, order: Order, round_: int) -> bool:
        return order.check != self._begun and round_ >= order.since

    def _begin(self, watch: Watch) -> Steps:
        subject = watch.subject.result()
        if subject is None:
            return _given_up("what was counted for it in that round was not known in time")
        return watch.again(subject, self._shelf.load)

    def _end(self, watch: Watch, verdict: Verdict) -> None:
        logger.info("the spot check of round %d ended: %s", watch.round, verdict)
        self._watch = None
        self._tell(watch.check, watch.round, verdict)

    def _await_subject(self, check: str, round_: int) -> Subject | None:
        """Once the member's report is there, with all samples on this machine; None when that does not come about."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                if subject := self._ask(check, round_):
                    for positions in (*subject.own, *subject.control):
                        self._shelf.fetch(positions)
                    return subject
            except UnreachableError as error:
                logger.info("a spot check waits: %s", error)
            except SwarmError as error:
                logger.info("a spot check is given up: %s", error)
                return None
            time.sleep(_ASK_AGAIN_SECONDS)
        return None


def kept_of(learner: Learner, result: Applied, member: str) -> Again | None:
    """What is to be kept of the round that the learner is about to end; None when nothing of the member's is in it."""
    if isinstance(learner, LocalLearner) and (sent := result.sent.get(member)):
        return partial(examined, learner, Kept.of(learner, sent))
    if isinstance(learner, GradientLearner) and (seen := result.seen.get(member)):
        return partial(gradient_check.examined, learner, KeptGradient.of(learner, seen))
    return None


def _given_up(why: str) -> Steps:
    return Verdict(None, why)
    yield


def checker_of(bridge: Bridge, shelf: Shelf) -> Checker:
    """A checker that asks and tells the supervisor, as `peer.desk` answers."""

    def ask(check: str, round_: int) -> Subject | None:
        found = bridge.call("subject", check=check, number=round_)
        own, control = ([Range(*part) for part in found[name]] for name in ("own", "control"))
        return Subject(own, control) if own else None

    def tell(check: str, round_: int, verdict: Verdict) -> None:
        outcome = _OUTCOMES[verdict.passed]
        bridge.notify("checked", check=check, number=round_, outcome=outcome, why=verdict.why)

    return Checker(ask, tell, shelf)
