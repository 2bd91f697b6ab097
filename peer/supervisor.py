"""The peer's parent process: fetches what the run needs, starts and watches the worker, reports, and cleans up.

Holds gRPC and no torch. Every end of a join passes through `Supervisor.run`, which leaves no process and no temporary
folder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peer import reach, spawn
from peer.bridge import Bridge
from peer.fetch import Files
from peer.outbox import Outbox
from peer.seats import JoinOptions, PeerEvent, Seat
from peer.session import Session, Who
from peer.setup import Setup
from peer.worker import TOLD
from swarm import log, paths
from swarm.chunks import Manifest
from swarm.client import CoordinatorClient
from swarm.errors import NotFoundError, SwarmError, UnreachableError, WorkerCrashError, from_code
from swarm.identity import Identity
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import RunSpec, loads

logger = log.get(__name__)

_LOOK_SECONDS = 0.1
_WORKER_LEAVES_SECONDS = 2.5  # Ctrl-C to the worker's end; with the rest below: 5 s
_GOODBYE_SECONDS = 1.0
_HAND_OVER_SECONDS = 10.0  # for the newest state, after Ctrl-C; on a slow line the rest is sent at the next join
_FINAL_SECONDS = 120.0  # for the last checkpoint to reach the coordinator
_MAX_CRASHES = 5
_CRASH_WINDOW = 600.0  # seconds in which they must fall
_LONGEST_PAUSE = 60.0
_CHECKPOINT_TRIES = 5


class Supervisor:
    """One join, from the coordinator's first answer to the goodbye."""

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
        self._crashes: list[float] = []
        self._failure: SwarmError | None = None
        self._maddrs: list[str] = []
        self._device = ""
        self._reach = reach.UNASKED
        self._run = pb.Run()
        self._spec: RunSpec
        self._session: Session

    def run(self) -> None:
        """Blocks until the run is finished or `stopping` is set."""
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        spawn.reap_leftovers(self._seat.folder)
        self._outbox.open()
        try:
            if self._enter():
                self._session.start()
                self._keep_working()
        finally:
            self._outbox.close()

    def _enter(self) -> bool:
        """Fetch the run and join it; False when it is already finished."""
        self._run = self._client.get_run()
        self._spec = loads(self._run.spec_toml, "the coordinator's run spec")
        if self._run.finished:
            self._note(
                f"The run {self._run.name} is finished after {self._run.round} rounds; there is nothing to train."
            )
            return False
        identity = Identity.load_or_create(self._options.data_dir)
        who = Who(identity.public_key, self._options.name, self._options.credit, self._seat.number)
        self._session = Session(self._client, who, self._outbox, self._checkpoints)
        self._session.join()
        if len(self._outbox):
            self._note(f"sending {len(self._outbox)} reports that were kept from last time")
            self._session.flush(10.0)
            self._run = self._client.get_run()
        self._note(f"joined {self._run.name}: {self._spec.run.title or 'round'} {self._run.round}")
        return True

    # ── the worker's life ──────────────────────────────────────────────────────────────────────

    def _keep_working(self) -> None:
        """Run the worker; restart it with back-off when it crashes."""
        while not self._stopping.is_set():
            code = self._work_once()
            if code == 0 or self._stopping.is_set():
                break
            self._after_crash(code)
        self._depart()

    def _work_once(self) -> int:
        worker = spawn.start_worker(self._seat.folder, self._options.threads)
        bridge = Bridge(worker.line, self._handlers(), on_closed=lambda: None)
        self._session.on_lost = lambda: bridge.notify("leases_lost")
        try:
            self._look_around()  # meanwhile the worker loads its libraries
            bridge.start()
            return self._watch(worker, bridge)
        finally:
            worker.end(0.0)
            bridge.close()

    def _look_around(self) -> None:
        """Learn anew whether others can dial this machine: it may have moved to another network."""
        try:
            found = reach.look(self._client, self._seat.folder / "p2p.port")
        except UnreachableError as error:
            logger.info("whether others can dial this machine is not known: %s", error)
            return
        if found.why != self._reach.why and found is not reach.LOCAL:
            self._note(found.why)
        self._reach = found

    def _watch(self, worker: spawn.Worker, bridge: Bridge) -> int:
        while (code := worker.ended()) is None:
            if self._session.refused:
                raise self._session.refused
            if self._stopping.wait(_LOOK_SECONDS):
                self._note("leaving")
                bridge.notify("stop")
                worker.end(_WORKER_LEAVES_SECONDS)
                return 0
        return code

    def _after_crash(self, code: int) -> None:
        """Decide whether to try again. Raises the worker's own error, or WorkerCrashError when it crashes again and
        again.
        """
        failure, self._failure = self._failure, None
        if code == TOLD and failure is not None and not isinstance(failure, UnreachableError):
            raise failure
        now = time.monotonic()
        self._crashes = [moment for moment in self._crashes if now - moment < _CRASH_WINDOW] + [now]
        what = failure.what if failure else f"the training process ended unexpectedly (exit code {code})"
        if len(self._crashes) >= _MAX_CRASHES or (failure and not self._maddrs):
            raise failure or WorkerCrashError(
                f"The training process crashed {len(self._crashes)} times; the last time with exit code {code}.",
                f"Its report is in {self._seat.folder / 'worker.out'}; please send it to the maintainer.",
            )
        pause = min(2.0 ** (len(self._crashes) - 1), _LONGEST_PAUSE)
        self._note(f"{what}; starting it again in {pause:.0f} s")
        self._stopping.wait(pause)
        self._session.renew("the training process ended unexpectedly")
        self._run = self._client_run()

    def _client_run(self) -> pb.Run:
        """The run as it is now, or as it was when the coordinator cannot be asked."""
        try:
            return self._client.get_run()
        except UnreachableError:
            return self._run

    def _depart(self) -> None:
        stopped = self._stopping.is_set()
        seconds = _GOODBYE_SECONDS if stopped else _FINAL_SECONDS
        if stopped and self._session.hands_over():
            self._note(f"handing over the newest state, for at most {_HAND_OVER_SECONDS:.0f} s")
            seconds = _HAND_OVER_SECONDS
        if stopped and self._session.unreachable_since is not None:
            seconds = 0.0  # a call may hang longer than Ctrl-C may take
        if not self._session.flush(seconds):
            self._note("What the coordinator has not heard yet is kept and will be sent at the next join.")
        self._session.leave("stopped by the volunteer" if stopped else "the run is finished")
        standing = self._session.standing
        self._say(
            {
                "event": "end",
                "counted": standing.counted,
                "rejected": standing.rejected,
                "finished": not stopped,
            }
        )

    # ── what the worker asks and tells ────────────────────────────────────────────────────────

    def _handlers(self) -> dict[str, Callable[..., Any]]:
        return {
            "setup": self._setup,
            "lease": self._lease,
            "chunk": self._files.chunk,
            "latest_checkpoint": self._latest_checkpoint,
            "maddrs": self._listening,
            "phase": self._phase,
            "round": self._round,
            "checkpoint": self._checkpoint,
            "heldout": lambda: str(self._files.blob(self._run.heldout)),
            "evaluated": self._evaluated,
            "failed": self._failed,
            "note": self._note,
            "device": self._computing_on,
        }

    def _setup(self) -> dict[str, Any]:
        layout = self._run.layout
        return asdict(
            Setup(
                spec_toml=self._run.spec_toml,
                model_folder=str(self._files.model_folder(list(self._run.model))),
                layout={
                    "shard_samples": list(layout.shard_samples),
                    "sequence_length": layout.sequence_length,
                    "seed": layout.seed,
                    "targets_per_sample": layout.targets_per_sample,
                },
                shards=[Manifest.of(shard).facts() for shard in self._run.shards],
                base=[Manifest.of(blob).facts() for blob in self._run.base],
                checkpoint=str(self._newest_checkpoint()),
                folder=str(self._seat.folder),
                cache=str(paths.cache() / "blobs"),
                base_folder=str(self._options.base or ""),
                from_hub=self._options.from_hub,
                initial_peers=list(self._run.bootstrap),
                live_members=len({address.rsplit("/", 1)[-1] for address in self._run.bootstrap}) - 1,
                listen_host="127.0.0.1" if self._reach.case is reach.Case.LOCAL else "0.0.0.0",
                port=self._reach.port,
                announced=self._reach.announced,
                relay=self._run.bootstrap[0] if self._reach.relayed and self._run.bootstrap else "",
                device=self._seat.device,
                threads=self._options.threads,
                compiled=self._options.compiled,
            )
        )

    def _newest_checkpoint(self) -> Path:
        """The file to start from. In a fast run it may be replaced by a newer one while we ask for it."""
        for _ in range(_CHECKPOINT_TRIES):
            try:
                return self._files.checkpoint(self._run.latest)
            except NotFoundError:
                self._run = self._client.get_run()
        return self._files.checkpoint(self._run.latest)

    def _lease(self, samples: int) -> dict[str, Any]:
        answer = self._session.lease(samples)
        lease = answer.lease
        return {"lease": [lease.lease_id, *lease.range] if lease else None, "why": answer.why}

    def _latest_checkpoint(self, newer_than: int) -> str:
        self._run = self._client.get_run()
        return str(self._newest_checkpoint()) if self._run.latest.round > newer_than else ""

    def _listening(self, maddrs: list[str]) -> None:
        self._maddrs = maddrs

    def _computing_on(self, name: str, why: str) -> None:
        self._device = name
        self._note(why)

    def _phase(self, phase: str, why: str, **numbers: Any) -> None:
        self._session.doing(
            pb.HeartbeatRequest(
                phase=phase,
                why=why,
                round=numbers.get("round", self._run.round),
                samples_in_round=numbers.get("samples", 0),
                samples_per_second=numbers.get("rate", 0.0),
                loss=numbers.get("loss") or 0.0,
                maddrs=self._maddrs,
                device=self._device,
            )
        )
        self._say({"event": "status", "phase": phase, "why": why or self._offline(), **numbers, **self._standing()})

    def _round(self, **done: Any) -> None:
        ranges = [
            pb.LeasedRange(lease_id=lease, range=pb.Range(start=start, stop=stop))
            for lease, start, stop in done["used"]
        ]
        dropped = done["dropped_why"]
        self._session.report(
            pb.RoundReport(
                round=done["round"],
                digest=done["digest"],
                swarm_samples=done["swarm_samples"],
                global_samples=done["global_samples"],
                group_size=done["members"],
                counted=[] if dropped else ranges,
                dropped=ranges if dropped else [],
                dropped_why=dropped,
                loss=done["loss"] or 0.0,
                compute_seconds=done["compute"],
                exchange_seconds=max(0.0, done["seconds"] - done["compute"]),
                bytes_sent=done["sent"],
                bytes_received=done["received"],
                finished_at=time.time(),
            )
        )
        shown = {key: value for key, value in done.items() if key != "used"}
        self._say({"event": "round", **shown, **self._standing()})

    def _checkpoint(self, path: str, **state: Any) -> None:
        """Take over the worker's file, so that it outlives the worker."""
        target = self._session.checkpoint_path(state["round"])
        Path(path).replace(target)
        self._session.offer(pb.Checkpoint(created_at=time.time(), **state))

    def _evaluated(self, **found: Any) -> None:
        self._session.evaluated(pb.Evaluation(**found))
        self._note(f"round {found['round']}: held-out loss {found['heldout_loss']:.4f} nats per token")

    def _failed(self, code: str, what: str, remedy: str) -> None:
        self._failure = from_code(code, what, remedy)

    def _standing(self) -> dict[str, Any]:
        standing = self._session.standing
        return {"counted": standing.counted, "rejected": standing.rejected, "rejected_why": standing.why}

    def _offline(self) -> str:
        since = self._session.unreachable_since
        if since is None:
            return ""
        return f"the coordinator is not reachable since {time.time() - since:.0f} s; training goes on, reports are kept"

    def _note(self, text: str) -> None:
        logger.info("%s", text)
        self._say({"event": "note", "text": text})

    def _say(self, event: PeerEvent) -> None:
        several = len(self._options.devices) > 1
        self._options.screen({**event, "seat": self._seat.device} if several else event)
