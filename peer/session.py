"""A peer's membership: heartbeats, leases, and the reports that the coordinator must not miss.

Training never waits for this file: without a coordinator the leases that are here are used up, reports stay in the
outbox.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from peer.fetch import keep_checkpoint
from peer.leases import Leased, LeasedRange
from peer.outbox import AGAIN, CHECKPOINT, EVALUATION, REPORT, Item, Outbox, holds
from peer.recall import recalled
from swarm import log, notes
from swarm.client import CoordinatorClient
from swarm.errors import DiskError, HaltedError, RefusedError, SwarmError, UnreachableError, from_os_error
from swarm.identity import Identity
from swarm.papers import Hearing
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Range
from swarm.tensorfile import sha256_file

logger = log.get(__name__)

_AT_ONCE = 100, 256 << 10  # reports, and bytes: the coordinator takes at most twice as many
_ALL = 1 << 31
_OFFER_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 0.05
_BEATS = 0.05, 600.0  # seconds between heartbeats, whatever the coordinator says


@dataclass
class Standing:
    """What the coordinator said about this peer's samples."""

    counted: int = 0
    rejected: int = 0
    why: str = ""
    before: int = 0  # counted in earlier joins
    unheard: int = 0  # in reports that the coordinator has not answered yet
    share: float = 1.0  # what each sample weighs that is lent now
    probation: str = ""  # why that is nothing


@dataclass(frozen=True)
class Who:
    """How this peer introduces itself."""

    identity: Identity
    name: str
    credit: str
    seat: int
    replaces: str = ""  # the session that worked in this folder before


class Session:
    """Keeps one membership alive in a thread of its own."""

    def __init__(
        self,
        client: CoordinatorClient,
        who: Who,
        outbox: Outbox,
        checkpoints: Path,
        standing: Standing,
        send: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.unreachable_since: float | None = None
        self.refused: SwarmError | None = None
        self.on_lost: Callable[[], None] = lambda: None
        self.on_away: Callable[[], None] = lambda: None  # again and again while the coordinator does not answer
        self.on_receipts: Callable[[], None] = lambda: None
        self.on_weight: Callable[[], None] = lambda: None  # what this peer's samples weigh changed
        self.on_signed: Callable[[Sequence[pb.SignedReceipt]], None] = lambda _: None  # to be kept
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
        self._checkpoints = checkpoints
        self._standing = standing
        self._send = send  # returns when so many bytes may leave
        self.member_id = ""
        self._interval = 5.0
        self._quiet_until = 0.0  # on the monotonic clock
        self._again = False  # recall once more then
        self._doing = pb.HeartbeatRequest(phase="starting")
        self._due = threading.Event()
        self._ended = threading.Event()
        self._flushing = threading.Lock()
        self._renewing = threading.Lock()
        self._renewal = ""  # why the membership shall end and begin anew, while that could not be said yet

    def join(self, round_: int = 0) -> str:
        """Become a member that holds the state of `round_`, or none. Returns why it is in another seat than its own;
        empty when it is not. What was leased before is not worked on any more. Raises UnreachableError, RefusedError, …
        """
        self._outbox.void_leases()
        return self._enter(round_)[0]

    def _enter(self, round_: int) -> tuple[str, bool]:
        """Why it is in another seat, and whether the coordinator had forgotten what it was reminded of."""
        who = self._who
        answer = self._client.join(who.identity, who.name, round_, who.credit, who.seat, who.replaces, self.lineage)
        self.member_id, self._interval = answer.member_id, min(_BEATS[1], max(_BEATS[0], answer.heartbeat_seconds))
        self._standing.before = max(0, answer.counted - self._standing.counted)
        self._renewal = ""
        return answer.why, self._remind(answer.history)

    def _remind(self, history: str) -> bool:
        """A coordinator with another history was restored from a copy: it hears again what it may have forgotten.

        Raises UnreachableError, RefusedError, …; SwarmError when the disk does not take which history that was.
        """
        note = self._checkpoints.parent / "history"
        known = notes.kept(note)
        if not history or history == known:
            return False
        if known:
            self._recall()
            self._outbox.tell_again()
            self._quiet_until, self._again = time.monotonic() + 2 * self._interval, True
        try:
            notes.keep(note, history)
        except OSError as error:
            raise from_os_error(error, "keeping the coordinator's history") from error
        return bool(known)

    def _recall(self) -> None:
        leases = recalled([*self._outbox.remembered(), *self._outbox.first(_ALL)])
        samples = self._client.recall_leases(self.member_id, leases)
        logger.info("the coordinator was restored from a copy: %d samples are leased again", samples)

    def _speak(self) -> None:
        """Report; to a restored coordinator once all could say what they hold, and what others gave back is free."""
        if time.monotonic() < self._quiet_until:
            return
        if self._again:
            self._recall()
            self._again = False
        self._send_outbox()

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
        with self._renewing:
            if not (reason := self._renewal):
                return False
            self._client.leave(self.member_id, reason)
            self.join(self._doing.round)
            return True

    def start(self) -> None:
        """Begin heartbeats and sending."""
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

    def report(self, report: pb.RoundReport) -> None:
        """Keep a report until the coordinator has it."""
        self._standing.unheard += sum(part.range.stop - part.range.start for part in (*report.counted, *report.dropped))
        self._outbox.put(REPORT, report.SerializeToString())
        self._due.set()

    def offer(self, checkpoint: pb.Checkpoint) -> None:
        """Keep a checkpoint, whose file is in the outbox's folder, until the coordinator has it or does not want it."""
        self._outbox.put(CHECKPOINT, checkpoint.SerializeToString())
        self._due.set()

    def evaluated(self, evaluation: pb.Evaluation) -> None:
        """Keep an evaluation until the coordinator has it or does not want it."""
        self._outbox.put(EVALUATION, evaluation.SerializeToString())
        self._due.set()

    def flush(self, seconds: float, hurry: threading.Event | None = None) -> bool:
        """Send what is in the outbox, at most so long and until `hurry`, whatever the line. True when it is empty."""
        end = time.monotonic() + seconds
        sending = threading.Thread(target=self._send_all, args=(end,), name="flush", daemon=True)
        sending.start()
        while sending.is_alive() and time.monotonic() < end and not (hurry and hurry.is_set()):
            sending.join(_LOOK_SECONDS)
        return not len(self._outbox)

    def hands_over(self) -> bool:
        """Whether a checkpoint waits to be sent."""
        with suppress(DiskError):
            return any(item.kind == CHECKPOINT for item in self._outbox.first(_AT_ONCE[0]))
        return False

    def leave(self, reason: str) -> None:
        """End the membership; an unreachable coordinator will notice by itself."""
        self._ended.set()
        self._due.set()
        if self.unreachable_since is not None:
            return
        try:
            self._client.leave(self.member_id, reason)
        except SwarmError as error:
            logger.info("goodbye was not heard: %s", error)

    def _send_all(self, end: float) -> None:
        while len(self._outbox) and time.monotonic() < end:
            try:
                self._send_outbox()
            except SwarmError as error:
                logger.info("outbox: %s", error)
                self._ended.wait(0.3)

    def _keep_alive(self) -> None:
        while not self._ended.is_set():
            try:
                self._beat()
                self._speak()
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
            self._due.wait(self._interval)
            self._due.clear()

    def _beat(self) -> None:
        beat = pb.HeartbeatRequest()
        beat.CopyFrom(self._doing)
        beat.member_id, beat.lineage = self.member_id, self.lineage
        answer = self._client.heartbeat(beat)
        self.hearing.note(time.time(), answer.barred)
        self.unreachable_since = None
        if answer.HasField("evaluation"):
            self.on_evaluation(answer.evaluation)
        if (answer.share, answer.probation) != (self._standing.share, self._standing.probation):
            self._standing.share, self._standing.probation = answer.share, answer.probation
            self.on_weight()
        if answer.HasField("check"):
            self.on_check(answer.check)
        self._remind(answer.history)
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
        """The coordinator does not know this membership any more; its leases are gone with it, or were recalled."""
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

    def _send_outbox(self) -> None:
        with self._flushing:
            while items := self._outbox.first(*_AT_ONCE):
                if items[0].kind == CHECKPOINT:
                    self._send_checkpoint(items[0])
                elif items[0].kind == EVALUATION:
                    self._send_evaluation(items[0])
                elif items[0].kind == AGAIN:
                    self._send_again([item for item in items if item.kind == AGAIN])
                else:
                    self._send_reports([item for item in items if item.kind == REPORT])

    def _report(self, items: list[Item]) -> list[pb.Receipt]:
        reports = [pb.RoundReport.FromString(item.body) for item in items]
        answer = self._client.report_rounds(self.member_id, reports)
        self.on_signed(answer.signed)  # first: a report that is not removed is answered again
        self._outbox.remove(items)
        return list(answer.receipts)

    def _send_again(self, items: list[Item]) -> None:
        """What a restored coordinator had forgotten: how this peer stands is then what that coordinator says."""
        self._report(items)
        for member in self._client.status().members:
            if member.member_id == self.member_id:
                self._standing.counted = max(0, member.counted_samples - self._standing.before)
        self.on_receipts()

    def _send_reports(self, items: list[Item]) -> None:
        for receipt in self._report(items):
            size = receipt.range.stop - receipt.range.start
            self._standing.unheard = max(0, self._standing.unheard - size)
            if receipt.counted:
                self._standing.counted += size
            else:
                self._standing.rejected += size
                self._standing.why = f"round {receipt.round}: {receipt.why}"
        self.on_receipts()

    def _send_evaluation(self, item: Item) -> None:
        answer = self._client.report_evaluation(self.member_id, pb.Evaluation.FromString(item.body))
        if not answer.accepted:
            logger.info("the evaluation is not wanted: %s", answer.why)
        self._outbox.remove([item])

    def _send_checkpoint(self, item: Item) -> None:
        """Offer, upload from where the coordinator stands, forget. Another peer may be faster; then ours is not
        wanted.
        """
        checkpoint = pb.Checkpoint.FromString(item.body)
        path = self.checkpoint_path(checkpoint.round)
        if path.exists() and holds(path, checkpoint.digest):
            checkpoint.sha256, checkpoint.size = sha256_file(path), path.stat().st_size
            answer = self._client.offer_checkpoint(self.member_id, checkpoint)
            if answer.wanted:
                self._client.upload(self.member_id, path, checkpoint.sha256, answer.offset, self._send)
                keep_checkpoint(path, checkpoint.sha256, self._checkpoints.parent)
            logger.info("checkpoint of round %d: %s", checkpoint.round, answer.why or "uploaded")
        self._outbox.remove([item])
        path.unlink(missing_ok=True)

    def checkpoint_path(self, round_: int) -> Path:
        """Where the file of an offered checkpoint waits."""
        return self._checkpoints / f"round-{round_}.safetensors"


def halted(why: str) -> HaltedError:
    """The run's coordinator says that it was stopped."""
    return HaltedError(
        f"The run was stopped: {why}. There is nothing to train.",
        "Nothing is wrong here. Ask the run's maintainer, who can export the last good model and launch a run from it.",
    )
