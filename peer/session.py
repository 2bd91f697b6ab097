"""A peer's membership: heartbeats and leases, in a thread of its own. What is sent beside them: `peer.sending`.

Training never waits for this file: without a coordinator the leases that are here are used up, reports stay in the
outbox.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from peer.leases import Leased, LeasedRange
from peer.outbox import Outbox
from peer.parting import Before
from peer.sending import Sender
from peer.standing import Standing
from swarm import log
from swarm.client import CoordinatorClient
from swarm.errors import HaltedError, RefusedError, SwarmError, UnreachableError
from swarm.identity import Identity
from swarm.papers import Hearing
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Range

logger = log.get(__name__)

_GOODBYE_SECONDS = 0.5  # for a join that is under way
_BEATS = 0.05, 600.0  # seconds between heartbeats, whatever the coordinator says


@dataclass(frozen=True)
class Who:
    """How this peer introduces itself."""

    identity: Identity
    name: str
    credit: str
    seat: int
    before: Before  # the process that worked in this folder before


class Session:
    """Keeps one membership alive in a thread of its own."""

    def __init__(
        self,
        client: CoordinatorClient,
        who: Who,
        outbox: Outbox,
        sender: Sender,
        standing: Standing,
    ) -> None:
        self.unreachable_since: float | None = None
        self.refused: SwarmError | None = None
        self.on_lost: Callable[[], None] = lambda: None
        self.on_away: Callable[[], None] = lambda: None  # again and again while the coordinator does not answer
        self.on_weight: Callable[[], None] = lambda: None  # what this peer's samples weigh changed
        self.on_trouble: Callable[[str], None] = lambda _: None  # what the volunteer should know; perhaps again
        self.on_evaluation: Callable[[pb.Evaluation], None] = lambda _: None  # told the newest, often
        self.on_differs: Callable[[str, str], None] = lambda _digest, _why: None  # a state that is not the run's
        self.on_check: Callable[[pb.SpotCheck], None] = lambda _: None  # whom to watch, told again and again
        self.hearing = Hearing()
        self.lineage = 0  # of the run, as far as this process follows it
        self.overtaken = ""  # why the run went back, once it has begun another lineage
        self.ended = ""  # why its maintainer ended it, if that happened
        self._client = client
        self._who = who
        self._outbox = outbox
        self.sender = sender
        self._standing = standing
        self.member_id = ""
        self._interval = 5.0
        self._doing = pb.HeartbeatRequest(phase="starting")
        self._due = threading.Event()
        self._ended = threading.Event()
        self._entering = threading.Lock()
        self._renewal = ""  # why the membership shall end and begin anew, while that could not be said yet

    def join(self, round_: int = 0) -> str:
        """Become a member that holds the state of `round_`, or none. Returns why it is in another seat than its own;
        empty when it is not. What was leased before is not worked on any more. Raises UnreachableError, RefusedError, …
        """
        self._outbox.void_leases()
        return self._enter(round_)[0]

    def _enter(self, round_: int) -> tuple[str, bool]:
        """Why it is in another seat, and whether the coordinator had forgotten what it was reminded of."""
        who, before = self._who, self._who.before
        answer = self._client.join(
            who.identity, who.name, round_, who.credit, who.seat, before.session, self.lineage, before.left_in
        )
        self._who = replace(who, before=replace(before, left_in=0))  # said once: it was away once
        self.member_id = self.sender.member_id = answer.member_id
        self._interval = min(_BEATS[1], max(_BEATS[0], answer.heartbeat_seconds))
        self._standing.before = max(0, answer.counted - self._standing.counted)
        self._renewal = ""
        return answer.why, self.sender.remind(answer.history, 2 * self._interval)

    def renew(self, reason: str) -> None:
        """End the membership and begin another: the worker lost its state, and its leases with it. While the
        coordinator is away that stays due: the heartbeats of the old one would hold lost leases for ever.

        When it was the only member, the coordinator then takes the run back to the latest checkpoint.
        """
        self._renewal, self._doing = reason, pb.HeartbeatRequest(phase="starting")
        try:
            self._outbox.void_leases()
            self._renew()
        except SwarmError as error:
            logger.info("%s", error)

    def follow(self, lineage: int) -> None:
        """What is said from now on is about this line of the run's states."""
        self.lineage, self.overtaken = lineage, ""
        self._doing = pb.HeartbeatRequest(phase="starting")
        self._due.set()

    def _renew(self) -> bool:
        """Do what is due; whether anything was. Raises UnreachableError, RefusedError."""
        with self._entering:
            if self._ended.is_set() or not (reason := self._renewal):
                return False
            self._client.leave(self.member_id, reason)
            self.join(self._doing.round)
            return True

    def start(self) -> None:
        """Begin heartbeats and sending."""
        self.sender.on_more = self._due.set
        self.sender.start()
        threading.Thread(target=self._keep_alive, name="session", daemon=True).start()

    def doing(self, request: pb.HeartbeatRequest) -> None:
        """What the next heartbeat says; a new phase is said at once."""
        changed = (request.phase, request.why) != (self._doing.phase, self._doing.why)
        self._doing = request
        if changed and request.phase in ("waiting", "syncing"):
            self._due.set()

    def lease(self, samples: int) -> Leased:
        """Ask for samples to train on. Raises UnreachableError."""
        answer = self._client.take_lease(self.member_id, samples)
        lent = Range(answer.range.start, answer.range.stop)
        if not (answer.lease_id and lent and lent.sound and len(lent) <= samples):
            return Leased(None, answer.why)
        self._outbox.remember(pb.LeasedRange(lease_id=answer.lease_id, range=answer.range).SerializeToString())
        return Leased(LeasedRange(answer.lease_id, lent, answer.lent))

    def grant(self, round_: int, members: list[str], blind: bool) -> bool:
        """Whether the coordinator lets these members make the round. Raises UnreachableError."""
        answer = self._client.grant_round(self.member_id, round_, members, blind)
        if answer.why:
            logger.info("round %d is not granted to this part of the swarm: %s", round_, answer.why)
        return answer.granted

    def leave(self, reason: str) -> None:
        """End the membership; an unreachable coordinator will notice by itself."""
        self._ended.set()
        self._due.set()
        self.sender.end()
        if self.unreachable_since is not None or not self._entering.acquire(timeout=_GOODBYE_SECONDS):
            return
        try:
            self._client.leave(self.member_id, reason)
        except SwarmError as error:
            logger.info("goodbye was not heard: %s", error)
        finally:
            self._entering.release()

    def _keep_alive(self) -> None:
        while not self._ended.is_set():
            try:
                self._beat()
                self.sender.go_on()
                if self._renew():
                    self.on_lost()
            except UnreachableError as error:
                self.unreachable_since = self.unreachable_since or time.time()
                logger.info("%s", error)
                self._seek()
            except RefusedError as error:
                self._rejoin(error)
            except SwarmError as error:
                logger.warning("%s", error)
                self.on_trouble(str(error))
            except Exception as error:  # a fault of the program must not end the heartbeats, and with them all leases
                logger.exception("a heartbeat failed")
                self.on_trouble(f"A heartbeat failed: {error!r}. The next one follows.")
            self._due.wait(self._interval)
            self._due.clear()

    def _beat(self) -> None:
        beat = pb.HeartbeatRequest()
        beat.CopyFrom(self._doing)
        beat.member_id, beat.lineage = self.member_id, self.lineage
        answer = self._client.heartbeat(beat)
        weighed = (answer.share, answer.probation) != (self._standing.share, self._standing.probation)
        self._standing.share, self._standing.probation = answer.share, answer.probation
        self.hearing.note(time.time(), answer.barred)  # the worker hears of its probation with it
        self.unreachable_since = None
        if answer.HasField("evaluation"):
            self.on_evaluation(answer.evaluation)
        if weighed:
            self.on_weight()
        if answer.HasField("check"):
            self.on_check(answer.check)
        self.sender.remind(answer.history, 2 * self._interval)
        self.ended = answer.ended
        if answer.halted:
            self.refused = halted(answer.halted)
        elif answer.lineage > self.lineage:
            self.overtaken = answer.went_back
        elif answer.differs:
            self.on_differs(beat.digest, answer.differs)

    def _seek(self) -> None:
        """The coordinator may be elsewhere: where it was first says so, or the swarm does."""
        self.on_away()
        try:
            self._client.seek()
        except SwarmError as error:
            logger.info("%s", error)

    def _rejoin(self, error: SwarmError) -> None:
        """The coordinator does not know this membership any more; its leases are gone with it, or were recalled. When
        that is because this peer said goodbye meanwhile, all is well.
        """
        with self._entering:
            if self._ended.is_set():
                return
            logger.warning("%s Joining again.", error)
            try:
                why, reminded = self._enter(self._doing.round)
                logger.info("joined again%s", why and f": {why}")
                if not reminded:
                    self._lose_leases()
            except RefusedError as final:
                self.refused = final
            except SwarmError as later:
                logger.info("%s", later)

    def _lose_leases(self) -> None:
        """Work on none of them any more, also when the disk does not take that. Raises DiskError."""
        try:
            self._outbox.void_leases()
        finally:
            self.on_lost()


def halted(why: str) -> HaltedError:
    """The run's coordinator says that it was stopped."""
    return HaltedError(
        f"The run was stopped: {why}. There is nothing to train.",
        "Nothing is wrong here. Ask the run's maintainer, who can export the last good model and launch a run from it.",
    )
