"""What a worker asks and tells: answered here, in the supervisor's process, which holds gRPC.

One desk serves all workers of one seat, one after the other.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peer import parting, reach
from peer.fetch import Files
from peer.seals import signer_of
from peer.seats import JoinOptions, PeerEvent, Seat
from peer.session import Session
from peer.setup import Setup
from peer.standing import Standing
from swarm import log, paths
from swarm.chunks import Manifest
from swarm.client import CoordinatorClient
from swarm.errors import HandoverError, NotFoundError, SwarmError, UnreachableError, from_code, from_os_error
from swarm.identity import Identity
from swarm.proto import coordinator_pb2 as pb

logger = log.get(__name__)

_CHECKPOINT_TRIES = 5
_LOOK_SECONDS = 0.5


class Desk:
    """`begin` before each membership. `standing` is the sum of all of them."""

    def __init__(self, options: JoinOptions, client: CoordinatorClient, files: Files, seat: Seat) -> None:
        self.run = pb.Run()
        self.session: Session
        self.standing = Standing()
        self.failure: SwarmError | None = None  # the worker's last word before it ended
        self.listening = False
        self._options = options
        self._client = client
        self._files = files
        self._seat = seat
        self._maddrs: list[str] = []
        self._device = ""
        self._said = ""  # the last trouble
        self._evaluation = pb.Evaluation()  # the newest that was heard of
        self._quarantine: pb.Quarantine | None = None  # the last one
        self._reach = reach.UNASKED

    def begin(self, run: pb.Run, session: Session) -> None:
        """What is asked and told from now on is about this membership."""
        self.run, self.session = run, session
        self._log_about(member=session.member_id)
        session.on_evaluation = self._heard
        session.on_trouble = session.sender.on_trouble = self._trouble
        session.sender.on_receipts = lambda: self.say({"event": "standing", **self._standing()})
        session.on_weight = self._weighed
        self._maddrs, self.listening, self.failure = [], False, None
        self._quarantine = None

    def follow(self, stopping: threading.Event) -> None:
        """The run went back: from now on all is about its new line of states, once the coordinator says which."""
        self.note(f"{self.session.overtaken}; starting again from there")
        while self.run.lineage <= self.session.lineage and not stopping.is_set():
            self.refresh()
            stopping.wait(_LOOK_SECONDS)
        self._quarantine, self._maddrs = None, []
        self.session.follow(self.run.lineage)

    def look_around(self) -> None:
        """Learn anew whether others can dial this machine: it may have moved to another network."""
        try:
            found = reach.look(self._client, self._seat.folder / "p2p.port")
        except UnreachableError as error:
            logger.info("whether others can dial this machine is not known: %s", error)
            return
        if found.why != self._reach.why and found is not reach.LOCAL:
            self.note(found.why)
        self._reach = found

    def refresh(self) -> None:
        """Ask for the run as it is now; it stays as it was when the coordinator cannot be asked."""
        with suppress(UnreachableError):
            self.run = self._client.get_run()

    @property
    def threads(self) -> int:
        """CPU threads of the next worker."""
        limit = self._options.door.settings.limits.cpu_threads
        return min(limit, self._options.threads) if limit else self._options.threads

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """By the names that a worker uses."""
        return {
            "setup": self._setup,
            "lease": self._lease,
            "grant": self._grant,
            "known": self._known,
            "subject": self._subject,
            "checked": self._checked,
            "chunk": self._files.chunk,
            "sign": self._sign,
            "pass": self._pass,
            "latest_checkpoint": self._latest_checkpoint,
            "maddrs": self._listening,
            "phase": self._phase,
            "round": self._round,
            "quarantined": self._quarantined,
            "checkpoint": self._checkpoint,
            "heldout": lambda: str(self._files.blob(self.run.heldout)),
            "evaluated": self._evaluated,
            "failed": self._failed,
            "note": self.note,
            "device": self._computing_on,
            "moved": self._options.door.passed,
            "handover": self._handover,
            "parting": self._parting,
        }

    def _setup(self) -> dict[str, Any]:
        self.refresh()  # the worker may start long after the last look: when the coordinator was away, it is back
        layout = self.run.layout
        return asdict(
            Setup(
                spec_toml=self.run.spec_toml,
                model_folder=str(self._files.model_folder(list(self.run.model))),
                layout={
                    "shard_samples": list(layout.shard_samples),
                    "sequence_length": layout.sequence_length,
                    "seed": layout.seed,
                    "targets_per_sample": layout.targets_per_sample,
                },
                shards=[Manifest.of(shard).facts() for shard in self.run.shards],
                base=[Manifest.of(blob).facts() for blob in self.run.base],
                checkpoint=str(self._newest_checkpoint()),
                folder=str(self._seat.folder),
                member=self.session.member_id,
                lineage=self.session.lineage,
                cache=str(paths.cache() / "blobs"),
                base_folder=str(self._options.base or ""),
                from_hub=self._options.from_hub,
                initial_peers=list(self.run.bootstrap),
                live_members=len({address.rsplit("/", 1)[-1] for address in self.run.bootstrap}) - 1,
                listen_host="127.0.0.1" if self._reach.case is reach.Case.LOCAL else "0.0.0.0",
                port=self._reach.port,
                announced=self._reach.announced,
                relay=self.run.bootstrap[0] if self._reach.relayed and self.run.bootstrap else "",
                device=self._seat.device,
                threads=self.threads,
                compiled=self._options.compiled,
                upload=self._options.door.upload,
                duty=self._options.door.settings.limits.duty_percent / 100,
                gpu_memory=self._options.door.settings.limits.gpu_memory_percent / 100,
            )
        )

    def _newest_checkpoint(self) -> Path:
        """The file to start from. In a fast run it may be replaced by a newer one while we ask for it."""
        for _ in range(_CHECKPOINT_TRIES):
            try:
                return self._files.checkpoint(self.run.latest)
            except NotFoundError:
                self.run = self._client.get_run()
        return self._files.checkpoint(self.run.latest)

    def _lease(self, samples: int) -> dict[str, Any]:
        answer = self.session.lease(samples)
        lease = answer.lease
        said = [lease.lease_id, *lease.range, lease.lent.hex()] if lease else None
        return {"lease": said, "why": answer.why}

    def _grant(self, number: int, members: list[str], blind: bool) -> bool:
        return self.session.grant(number, members, blind)

    def _known(self) -> dict[str, Any]:
        """How far the run is, and which digests of its states the coordinator vouches for; nothing while it is away."""
        if self.session.unreachable_since is not None:
            return {"number": 0, "digests": {}, "checkpoint": 0}
        status = self._client.status()
        digests = {round_.round + 1: round_.digest for round_ in status.rounds if round_.vouched}
        latest = status.latest
        return {"number": status.round, "digests": {**digests, latest.round: latest.digest}, "checkpoint": latest.round}

    def _subject(self, check: str, number: int) -> dict[str, list[tuple[int, int]]]:
        """What a spot check of a round is about: positions, none before they are known."""
        answer = self._client.get_check(self.session.member_id, check, number)
        found = {"own": answer.own, "control": answer.control}
        return {key: [(part.start, part.stop) for part in parts] for key, parts in found.items()}

    def _checked(self, check: str, number: int, outcome: str, why: str) -> None:
        """One that the coordinator does not hear of runs out."""
        try:
            self._client.report_check(self.session.member_id, check, number, outcome, why)
        except SwarmError as error:
            logger.info("%s", error)
        self.note(f"spot check of round {number}: {outcome}: {why}")

    def _sign(self, words: str) -> list[str]:
        """A member's word in the exchange (`peer.seals`): public key and signature, in hex like `words`."""
        sign = signer_of(Identity.of(self._options.data_dir, paths.home()))
        return [part.hex() for part in sign(bytes.fromhex(words))]

    def _pass(self, peer_id: str, earlier: str) -> dict[str, Any]:
        """For the worker's node, in hex like its id; and what to hold others' passes against (`peer.renewal`)."""
        own = self._client.get_pass(self.session.member_id, bytes.fromhex(peer_id), bytes.fromhex(earlier))
        self.session.hearing.note(time.time())
        hearing, authority = self.session.hearing, self._client.certificate.decode()
        said = {"heard_at": hearing.heard_at, "barred": hearing.barred}
        return {"own": own.hex(), "certificate": authority, **said}

    def _latest_checkpoint(self, newer_than: int) -> str:
        self.run = self._client.get_run()
        return str(self._newest_checkpoint()) if self.run.latest.round > newer_than else ""

    def _listening(self, maddrs: list[str]) -> None:
        self._maddrs, self.listening = maddrs, True

    def _computing_on(self, name: str, why: str) -> None:
        self._device = name
        self.note(why)

    def _phase(self, phase: str, why: str, digest: str = "", **numbers: Any) -> None:
        self._log_about(round=numbers.get("round", self.run.round))
        self.session.doing(
            pb.HeartbeatRequest(
                phase=phase,
                why=why,
                round=numbers.get("round", self.run.round),
                samples_in_round=numbers.get("samples", 0),
                samples_per_second=numbers.get("rate", 0.0),
                loss=numbers.get("loss") or 0.0,
                maddrs=self._maddrs,
                device=self._device,
                digest=digest,
                quarantine=self._quarantine,
            )
        )
        self.say({"event": "status", "phase": phase, "why": why or self._offline(), **numbers, **self._standing()})

    def _round(self, **done: Any) -> None:
        ranges = [
            pb.LeasedRange(lease_id=lease, range=pb.Range(start=start, stop=stop))
            for lease, start, stop in done["used"]
        ]
        dropped = done["dropped_why"]
        self.session.sender.report(
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
                lineage=self.session.lineage,
            )
        )
        shown = {key: value for key, value in done.items() if key != "used"}
        self.say({"event": "round", **shown, **self._standing()})

    def _quarantined(self, **found: Any) -> None:
        self._quarantine = pb.Quarantine(**found)
        self.say({"event": "quarantine", **found})

    def _checkpoint(self, path: str, **state: Any) -> None:
        """Take over the worker's file, so that it outlives the worker."""
        target = self.session.sender.checkpoint_path(state["round"])
        try:
            shutil.move(path, target)  # perhaps from another disk; what is torn is not sent
        except OSError as error:
            target.unlink(missing_ok=True)
            self._trouble(str(from_os_error(error, f"keeping the checkpoint of round {state['round']}")))
            return
        self.session.sender.offer(pb.Checkpoint(created_at=time.time(), **state))

    def _evaluated(self, **found: Any) -> None:
        self.session.sender.evaluated(pb.Evaluation(**found))
        self.note(f"round {found['round']}: held-out loss {found['heldout_loss']:.4f} nats per token")

    def _heard(self, found: pb.Evaluation) -> None:
        if found == self._evaluation:
            return
        self._evaluation = found
        metrics = dict(found.metrics)
        self.say({"event": "heldout", "round": found.round, "loss": found.heldout_loss, "metrics": metrics})

    def _handover(self, text: str) -> None:
        """The swarm says where the run is led; the coordinator's key says whether that is so."""
        try:
            self._client.learn(text)
        except HandoverError as error:
            logger.warning("%s", error)

    def _parting(self, number: int) -> None:
        """The worker says goodbye to the others next; the coordinator may not be there to hear that this peer left."""
        try:
            parting.left(self._seat.folder, self._client.session, number)
        except OSError as error:
            self._trouble(str(from_os_error(error, "noting that this peer leaves")))

    def _failed(self, code: str, what: str, remedy: str) -> None:
        self.failure = from_code(code, what, remedy)

    def _standing(self) -> dict[str, Any]:
        standing = self.standing
        shown = {"counted": standing.counted, "rejected": standing.rejected, "rejected_why": standing.why}
        weight = {"share": standing.share, "probation": standing.probation}
        return {**shown, **weight, "counted_before": standing.before, "unheard": standing.unheard}

    def _weighed(self) -> None:
        """The volunteer hears what its samples weigh, and why, when that changes."""
        weight, why = self.standing.share, self.standing.probation
        self.note(f"each sample of this peer weighs {weight:.0%} of a full one{why and f': {why}'}")

    def _offline(self) -> str:
        since = self.session.unreachable_since
        if since is None:
            return ""
        return f"the coordinator is not reachable since {time.time() - since:.0f} s; training goes on, reports are kept"

    def _trouble(self, text: str) -> None:
        """Say it once, until there is another one."""
        if text != self._said:
            self._said = text
            self.note(text)

    def note(self, text: str) -> None:
        """A sentence for the volunteer, and for the log."""
        logger.info("%s", text)
        self.say({"event": "note", "text": text})

    def say(self, event: PeerEvent) -> None:
        """An event for the screen."""
        self._options.screen({**event, "seat": self._seat.device} if self._several else event)

    @property
    def _several(self) -> bool:
        """Whether this process speaks for more members than this one."""
        return len(self._options.devices) > 1

    def _log_about(self, **facts: str | int) -> None:
        if not self._several:
            log.about(**facts)
