"""What the coordinator must not miss, on its way: reports, checkpoints, evaluations.

In a thread of its own: an upload may take minutes on a home link, and heartbeats must not wait for it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from peer.outbox import AGAIN, CHECKPOINT, EVALUATION, REPORT, Item, Outbox, holds
from peer.recall import recalled
from peer.standing import Standing
from swarm import log, notes
from swarm.client import CoordinatorClient
from swarm.errors import DiskError, ProtocolError, RefusedError, SwarmError, UnreachableError, from_os_error
from swarm.proto import coordinator_pb2 as pb
from swarm.tensorfile import sha256_file

logger = log.get(__name__)

_AT_ONCE = 100, 256 << 10  # reports, and bytes: the coordinator takes at most twice as many
_ALL = 1 << 31
_LOOK_SECONDS = 0.05
_AGAIN_SECONDS = 0.3
_UNDECIDED_SECONDS = 6.0  # by then every live member's next heartbeat, and with it its reports, came


class Sender:
    """Empties the outbox, whose offered checkpoints lie in `folder`, for one membership.

    It speaks when it is told to `go_on`, which the session does after each heartbeat that was answered: only then a
    coordinator that was restored from a copy was reminded.
    """

    def __init__(
        self,
        client: CoordinatorClient,
        outbox: Outbox,
        folder: Path,
        standing: Standing,
        keep: Callable[[Path, str], None],
        send: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.member_id = ""
        self.on_more: Callable[[], None] = lambda: None  # something waits to be sent
        self.on_receipts: Callable[[], None] = lambda: None
        self.on_signed: Callable[[Sequence[pb.SignedReceipt]], None] = lambda _: None  # to be kept
        self.on_trouble: Callable[[str], None] = lambda _: None  # what the volunteer should know; perhaps again
        self._client = client
        self._outbox = outbox
        self._folder = folder
        self._standing = standing
        self._keep = keep  # takes a file that was uploaded, and its SHA-256
        self._send = send  # returns when so many bytes may leave
        self._quiet_until = 0.0  # on the monotonic clock
        self._again = False  # recall once more then
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._speaking = threading.Lock()

    def start(self) -> None:
        """Begin to send, in a thread of its own."""
        threading.Thread(target=self._keep_sending, name="sender", daemon=True).start()

    def go_on(self) -> None:
        """The coordinator was heard just now."""
        self._asked.set()

    def end(self) -> None:
        """Send nothing more, once what is being sent is gone."""
        self._ended.set()
        self._asked.set()

    # ── what waits ─────────────────────────────────────────────────────────────────────────────

    def report(self, report: pb.RoundReport) -> None:
        """Keep a report until the coordinator has it."""
        self._standing.reported(report)
        self._put(REPORT, report.SerializeToString())

    def offer(self, checkpoint: pb.Checkpoint) -> None:
        """Keep a checkpoint, whose file is in the outbox's folder, until the coordinator has it or does not want it."""
        self._put(CHECKPOINT, checkpoint.SerializeToString())

    def evaluated(self, evaluation: pb.Evaluation) -> None:
        """Keep an evaluation until the coordinator has it or does not want it."""
        self._put(EVALUATION, evaluation.SerializeToString())

    def _put(self, kind: str, body: bytes) -> None:
        self._outbox.put(kind, body)
        self.on_more()

    def hands_over(self) -> bool:
        """Whether a checkpoint waits to be sent."""
        with suppress(DiskError):
            return any(item.kind == CHECKPOINT for item in self._outbox.first(_AT_ONCE[0]))
        return False

    def checkpoint_path(self, round_: int) -> Path:
        """Where the file of an offered checkpoint waits."""
        return self._folder / f"round-{round_}.safetensors"

    # ── sending ────────────────────────────────────────────────────────────────────────────────

    def flush(self, seconds: float, hurry: threading.Event | None = None) -> bool:
        """Send what is in the outbox, at most so long and until `hurry`, whatever the line. True when it is empty."""
        end = time.monotonic() + seconds
        sending = threading.Thread(target=self._send_all, args=(end,), name="flush", daemon=True)
        sending.start()
        while sending.is_alive() and time.monotonic() < end and not (hurry and hurry.is_set()):
            sending.join(_LOOK_SECONDS)
        return not len(self._outbox)

    def _send_all(self, end: float) -> None:
        """Until `end`, or the coordinator has taken nothing for a while of what it heard."""
        left, since = math.inf, time.monotonic()
        while (now := time.monotonic()) < min(end, since + _UNDECIDED_SECONDS) and not self._ended.is_set():
            try:
                self._speak(lambda: True)
                before, left = left, len(self._outbox)
                since = since if left == before else time.monotonic()
                if not left:
                    return
            except SwarmError as error:
                logger.info("outbox: %s", error)
                since = now
            self._ended.wait(_AGAIN_SECONDS)

    def _keep_sending(self) -> None:
        while not self._ended.is_set():
            self._asked.wait()
            self._asked.clear()
            try:
                self._speak(self._may_speak)
            except (UnreachableError, RefusedError) as error:
                logger.info("%s", error)  # the next heartbeat meets the same, and joins again
            except SwarmError as error:
                logger.warning("%s", error)
                self.on_trouble(str(error))
            except Exception as error:  # a fault of the program must not end what keeps a membership alive
                logger.exception("sending what waits for the coordinator failed")
                self.on_trouble(f"Sending what waits for the coordinator failed: {error!r}. It is kept.")

    def _speak(self, may: Callable[[], bool]) -> None:
        """Send once what waits now: what the coordinator wants later waits behind it then."""
        with self._speaking:
            last = self._outbox.newest()
            while may() and (items := self._outbox.first(*_AT_ONCE)) and items[0].id <= last:
                self._send_some(items)

    def _may_speak(self) -> bool:
        """To a restored coordinator once all could say what they hold, and what others gave back is free."""
        if self._ended.is_set() or time.monotonic() < self._quiet_until:
            return False
        if self._again:
            self._recall()
            self._again = False
        return True

    def _send_some(self, items: list[Item]) -> None:
        """The first, and those with it that can go together."""
        if items[0].kind == CHECKPOINT:
            self._hand_over(items[0])
        elif items[0].kind == EVALUATION:
            self._send_evaluation(items[0])
        elif items[0].kind == AGAIN:
            self._send_again([item for item in items if item.kind == AGAIN])
        else:
            self._send_reports([item for item in items if item.kind == REPORT])

    def _report(self, items: list[Item]) -> list[pb.Receipt]:
        reports = [pb.RoundReport.FromString(item.body) for item in items]
        answer = self._client.report_rounds(self.member_id, reports)
        if len(answer.signed) != len(items):
            what = f"The coordinator answered {len(answer.signed)} of {len(items)} reports; they are kept."
            raise ProtocolError(what, "Use the same version of garage-swarm as the run's coordinator.")
        self.on_signed([one for one in answer.signed if one.receipt])  # first: what is not removed is answered again
        self._outbox.put_back([item for item, one in zip(items, answer.signed, strict=True) if not one.receipt])
        self._outbox.remove([item for item, one in zip(items, answer.signed, strict=True) if one.receipt])
        return list(answer.receipts)

    def _send_again(self, items: list[Item]) -> None:
        """What a restored coordinator had forgotten: how this peer stands is then what that coordinator says."""
        self._report(items)
        for member in self._client.status().members:
            if member.member_id == self.member_id:
                self._standing.recounted(member.counted_samples)
        self.on_receipts()

    def _send_reports(self, items: list[Item]) -> None:
        for receipt in self._report(items):
            self._standing.answered(receipt)
        self.on_receipts()

    def _send_evaluation(self, item: Item) -> None:
        answer = self._client.report_evaluation(self.member_id, pb.Evaluation.FromString(item.body))
        if not answer.accepted:
            logger.info("the evaluation is not wanted: %s", answer.why)
        self._outbox.remove([item])

    def _hand_over(self, item: Item) -> None:
        checkpoint = pb.Checkpoint.FromString(item.body)
        path = self.checkpoint_path(checkpoint.round)
        try:
            self._send_checkpoint(checkpoint, path)
            self._outbox.remove([item])
            path.unlink(missing_ok=True)
        except OSError as error:
            raise from_os_error(error, f"handing over the checkpoint of round {checkpoint.round}") from error

    def _send_checkpoint(self, checkpoint: pb.Checkpoint, path: Path) -> None:
        """Offer, upload from where the coordinator stands. Another peer may be faster; then ours is not wanted."""
        if path.exists() and holds(path, checkpoint.digest):
            checkpoint.sha256, checkpoint.size = sha256_file(path), path.stat().st_size
            answer = self._client.offer_checkpoint(self.member_id, checkpoint)
            if answer.wanted:
                self._client.upload(self.member_id, path, checkpoint.sha256, answer.offset, self._send)
                self._keep(path, checkpoint.sha256)
            logger.info("checkpoint of round %d: %s", checkpoint.round, answer.why or "uploaded")

    # ── a coordinator that was restored from a copy ────────────────────────────────────────────

    def remind(self, history: str, patience: float) -> bool:
        """A coordinator with another history was restored from a copy: it hears again what it may have forgotten, and
        nothing else for `patience` seconds. Whether it was so.

        Raises UnreachableError, RefusedError, …; SwarmError when the disk does not take which history that was.
        """
        note = self._folder.parent / "history"
        known = notes.kept(note)
        if not history or history == known:
            return False
        if known:
            self._recall()
            self._outbox.tell_again()
            self._quiet_until, self._again = time.monotonic() + patience, True
        try:
            notes.keep(note, history)
        except OSError as error:
            raise from_os_error(error, "keeping the coordinator's history") from error
        return bool(known)

    def _recall(self) -> None:
        leases = recalled([*self._outbox.remembered(), *self._outbox.first(_ALL)])
        samples = self._client.recall_leases(self.member_id, leases)
        logger.info("the coordinator was restored from a copy: %d samples are leased again", samples)
