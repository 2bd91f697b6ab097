"""The peer's parent process: joins, starts and watches the worker, pauses and restarts it, and cleans up.

Holds gRPC and no torch. Every end of a join passes through `Supervisor.run`, which leaves no process and no temporary
folder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from enum import Enum

from peer import crashes, parting, spawn
from peer.bridge import Bridge
from peer.desk import Desk
from peer.fetch import Files
from peer.neighbour import Pause
from peer.outbox import Outbox
from peer.seats import JoinOptions, Seat
from peer.sending import Sender
from peer.session import Session, Who, halted
from peer.silence import Silence, listening
from peer.throttle import Throttle
from peer.worker import TOLD
from swarm import log, paths, receipts, runspec
from swarm.client import CoordinatorClient
from swarm.errors import RefusedError, UnreachableError
from swarm.handover import Handover
from swarm.identity import Identity
from swarm.proto import coordinator_pb2 as pb
from swarm.version import __version__, is_newer

logger = log.get(__name__)

_LOOK_SECONDS = 0.1
_WORKER_LEAVES_SECONDS = 3.5  # Ctrl-C to the worker's end; with the rest below: 5 s
_DRAIN_SECONDS = 120.0  # a pause waits for the round's end, but not for a very long round's
_GOODBYE_SECONDS = 1.0
_HAND_OVER_SECONDS = 10.0  # for the newest state, after Ctrl-C; on a slow line the rest is sent at the next join
_FINAL_SECONDS = 120.0  # for the last checkpoint to reach the coordinator
_AGAIN_SECONDS = 5.0  # between tries to come back after a pause, while the coordinator is away


class Left(Enum):
    """Why a membership ended."""

    FINISHED = "the run is finished"
    STOPPED = "stopped by the volunteer"
    PAUSED = "paused by the volunteer's rules"


class Supervisor:
    """One join: memberships one after the other, with pauses between them."""

    def __init__(
        self, options: JoinOptions, client: CoordinatorClient, files: Files, seat: Seat, stopping: threading.Event
    ) -> None:
        self._options = options
        self._client = client
        self._files = files
        self._seat = seat
        self._stopping = stopping
        self._outbox = Outbox(seat.folder / "outbox.sqlite")
        self._checkpoints = seat.folder / "outbox"
        self._crashes = crashes.Crashes(seat.folder)
        self._desk = Desk(options, client, files, seat)
        self._session: Session
        self._followed: Handover | None = None
        self._hung = ""  # why the last worker was ended, if it hung

    def run(self) -> None:
        """Blocks until the run is finished or `stopping` is set."""
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        spawn.reap_leftovers(self._seat.folder)
        if torn := self._outbox.open():
            self._desk.note(torn)
        try:
            self._take_part()
        finally:
            self._outbox.close()

    def _take_part(self) -> None:
        left, first = Left.PAUSED, True
        while left is Left.PAUSED:
            if ended := self._enter(first):
                left = ended
                break
            self._session.start()
            left, first = self._keep_working(), False
            self._depart(left)
        if not first:
            standing = self._desk.standing
            end = {"counted": standing.counted, "rejected": standing.rejected, "finished": left is Left.FINISHED}
            self._desk.say({"event": "end", **end})

    def _await_go(self) -> bool:
        """Wait until the volunteer's rules let it train; False when it shall stop instead."""
        said = ""
        while isinstance(decision := self._options.door.decision(), Pause):
            self._tell_news()
            if str(decision) != said:
                said = str(decision)
                self._desk.say({"event": "pause", "text": said})
            if self._stopping.wait(_LOOK_SECONDS):
                return False
        if said:
            self._desk.say({"event": "pause", "text": ""})
        return not self._stopping.is_set()

    def _tell_news(self) -> None:
        for text in self._options.door.news():
            self._desk.note(text)

    def _enter(self, first: bool) -> Left | None:
        """Join the run, once the rules let it; why not, when the run is already finished, or it shall stop."""
        said = ""
        while self._await_go():
            try:
                return None if self._join() else Left.FINISHED
            except UnreachableError as error:
                if first:
                    raise
                if error.what != said:
                    said = error.what
                    self._desk.note(f"{said} Trying again until there is an answer.")
            self._stopping.wait(_AGAIN_SECONDS)
        return Left.STOPPED

    def _join(self) -> bool:
        run = self._client.get_run()
        if run.finished:
            self._send_kept(run)
            self._desk.note(f"The run {run.name} is finished after {run.round} rounds; there is nothing to train.")
            return False
        if run.halted:
            raise halted(run.halted)
        self._become_member(run)
        if is_newer(run.version):
            self._desk.note(
                f"The run's coordinator has version {run.version}, this is {__version__}. "
                "Nothing is updated by itself: install the new version when you like."
            )
        self._desk.note(f"joined {run.name} at round {self._desk.run.round}")
        return True

    def _send_kept(self, run: pb.Run) -> None:
        """What was kept from last time counts also in a run that is finished, if that still lets this machine in."""
        if not len(self._outbox):
            return
        try:
            self._become_member(run)
            self._session.start()
            self._depart(Left.FINISHED)
        except RefusedError as error:
            self._desk.note(f"{error.what} What was kept from last time is not sent.")

    def _become_member(self, run: pb.Run) -> None:
        """What waits from last time is sent first."""
        identity = Identity.of(self._options.data_dir, paths.home())
        before = parting.before(self._seat.folder)  # it has ended, its seat is free for this one
        who = Who(identity, self._options.name, self._options.credit, self._seat.number, before)
        standing, keep = self._desk.standing, self._files.keep_checkpoint
        sender = Sender(self._client, self._outbox, self._checkpoints, standing, keep, self._options.door.send)
        sender.on_signed = self._keep
        self._session = Session(self._client, who, self._outbox, sender, standing)
        self._session.lineage = run.lineage
        why = self._session.join()
        parting.begun(self._seat.folder, self._client.session)
        self._desk.begin(run, self._session)
        if why:
            self._desk.note(why)
        if len(self._outbox):
            self._desk.note(f"sending what was kept from last time: {len(self._outbox)} in all")
            self._session.sender.flush(10.0)
            self._desk.refresh()

    def _keep(self, signed: Sequence[pb.SignedReceipt]) -> None:
        if signed:
            receipts.keep(self._seat.folder / receipts.FILE, self._client.certificate, signed)

    # ── the worker's life ──────────────────────────────────────────────────────────────────────

    def _keep_working(self) -> Left:
        """Run the worker; restart it with back-off when it crashes."""
        while not self._stopping.is_set():
            code, paused = self._work_once()
            if self._stopping.is_set():
                break
            if self._session.overtaken:
                self._desk.follow(self._stopping)
                continue
            if code == 0 or paused:
                return Left.PAUSED if paused else Left.FINISHED
            self._after_crash(code)
        return Left.STOPPED

    def _work_once(self) -> tuple[int, bool]:
        """The worker's exit code, and whether a pause ended it."""
        self._desk.say({"event": "status", "phase": "starting", "why": "loading torch and hivemind"})
        worker = spawn.start_worker(self._seat.folder, self._desk.threads)
        self._hung, silence = "", Silence(runspec.loads(self._desk.run.spec_toml))
        bridge = Bridge(worker.line, listening(silence, self._desk.handlers()), on_closed=lambda: None)
        self._session.on_lost = lambda: bridge.notify("leases_lost")
        self._session.on_differs = lambda digest, why: bridge.notify("differs", digest=digest, why=why)
        self._session.on_check = lambda check: bridge.notify(
            "check", check=check.id, member=check.member_id, since=check.since
        )
        self._session.on_away = lambda: bridge.notify("seek")
        hearing = self._session.hearing
        hearing.on_heard = lambda: bridge.notify(
            "heard", heard_at=hearing.heard_at, barred=hearing.barred, light=bool(self._desk.standing.probation)
        )
        try:
            self._desk.look_around()  # meanwhile the worker loads its libraries
            bridge.start()
            return self._watch(worker, bridge, silence)
        finally:
            worker.end(0.0)
            bridge.close()

    def _watch(self, worker: spawn.Worker, bridge: Bridge, silence: Silence) -> tuple[int, bool]:
        throttle = Throttle(self._options.door, bridge, self._desk.say, self._seat.device)
        draining = 0.0  # since when, on the monotonic clock
        while (code := worker.ended()) is None:
            if self._session.refused:
                raise self._session.refused
            if self._session.overtaken:  # nothing that the worker holds is of the run any more
                return 0, bool(draining)
            if self._stopping.wait(_LOOK_SECONDS):
                self._desk.note("leaving")
                return self._end(worker, bridge), bool(draining)
            throttle.look()
            self._follow(bridge)
            self._tell_news()
            if not draining and (why := self._reason_to_pause()):
                draining = time.monotonic()
                bridge.notify("drain")
                self._desk.note(f"{why}; after this round, in {_DRAIN_SECONDS / 60:.0f} minutes at the latest")
            if draining and time.monotonic() - draining > _DRAIN_SECONDS:
                return self._end(worker, bridge), True
            if why := silence.look(time.monotonic()):
                self._hung = why
                worker.abort()
        return code, bool(draining)

    def _reason_to_pause(self) -> str:
        """The volunteer's rules, or the end of the run before its last round, which is seen at the next join."""
        decision = self._options.door.decision()
        return str(decision) if isinstance(decision, Pause) else self._session.ended

    def _follow(self, bridge: Bridge) -> None:
        """When the run is led elsewhere: say so here, and let the worker tell the swarm."""
        led = self._client.handover
        if led is not None and led != self._followed:
            self._followed = led
            self._desk.note(f"the run is led at {led.address} now")
            bridge.notify("announce", text=self._client.moved)

    def _end(self, worker: spawn.Worker, bridge: Bridge) -> int:
        bridge.notify("stop")
        worker.end(_WORKER_LEAVES_SECONDS)
        return 0

    def _after_crash(self, code: int) -> None:
        """Decide whether to try again. Raises the worker's own error, or WorkerCrashError when it crashes again and
        again.
        """
        failure, self._desk.failure = self._desk.failure, None
        if failure is not None and (code == TOLD and not isinstance(failure, UnreachableError)):
            raise failure
        if failure is not None and not self._desk.listening:
            raise failure
        what = failure.what if failure else self._hung or crashes.how(code)
        pause = self._crashes.note(what, time.monotonic(), self._desk.standing.rounds)
        self._desk.note(f"{what}; starting it again in {pause:.0f} s")
        self._stopping.wait(pause)
        self._session.renew("the training process ended unexpectedly")

    def _depart(self, left: Left) -> None:
        hurry = None if left is Left.STOPPED else self._stopping
        if not self._session.sender.flush(self._patience(left), hurry):
            self._desk.note("What the coordinator has not heard yet is kept and will be sent at the next join.")
        self._session.leave(left.value)

    def _patience(self, left: Left) -> float:
        """Seconds for the last words. A pause has time for the newest state: the worker is gone already, and without
        that state the run may have to go back.
        """
        if left is Left.FINISHED:
            return _FINAL_SECONDS
        if self._session.unreachable_since is not None:
            return 0.0  # a call may hang longer than Ctrl-C may take
        if not self._session.sender.hands_over():
            return _GOODBYE_SECONDS
        seconds = _FINAL_SECONDS if left is Left.PAUSED else _HAND_OVER_SECONDS
        self._desk.note(f"handing over the newest state, for at most {seconds:.0f} s")
        return seconds
