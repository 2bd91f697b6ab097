"""A coordinator that is killed at random moments, and volunteers that note what it acknowledged.

The coordinator is a process of its own, without a bootstrap node. The volunteers are threads with the real client: they
lease, report, say half of their reports twice, bring checkpoints of what they reported, and keep what was not
acknowledged for the next life.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from coordinator import copies
from coordinator.artefacts import read_artefacts
from coordinator.store import open_store
from coordinator.uploads import Stage
from swarm.client import CoordinatorClient
from swarm.errors import UnreachableError
from swarm.identity import Identity
from swarm.invite import Invite
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import load
from swarm.tensorfile import state_digest
from tests import prepared
from tests.harness import Program
from tests.swarm_run import SwarmRun, free_port

SERVER = """\

import json, signal, sys, threading
from pathlib import Path
from coordinator.server import Coordinator, Settings
from swarm.runspec import load
host, spec = "127.0.0.1", load(Path(sys.argv[3]))
coordinator = Coordinator(Settings(Path(sys.argv[1]), host, int(sys.argv[2]), host, spec, ()))
ended = threading.Event()
signal.signal(signal.SIGINT, lambda *_: ended.set())
coordinator.start()
print(json.dumps({"event": "ready", "invite": str(coordinator.invite)}), flush=True)
ended.wait()
coordinator.stop()
"""
_LONGEST_LIFE = 0.6  # seconds after it answers
_SAMPLES = 8
_BRING_EVERY = 4  # rounds

Counted = tuple[str, int, int, int]  # member, round, first position, end


class Server:
    """A coordinator without a bootstrap node, on a prepared folder."""

    def __init__(self, folder: Path) -> None:
        self.run = SwarmRun(folder, rounds=100_000)
        self.port = free_port()
        self.process: Program | None = None

    def prepare(self) -> None:
        spec, out = self.run.write_spec(), self.run.folder / "coordinator"
        prepared.take(spec, out)
        if out.exists():
            return
        folder = tempfile.mkdtemp(prefix="p-")  # torch leaves a cache there
        made = Program([sys.executable, "-m", "peer.prepare", "--spec", str(spec), "--out", str(out)], TMPDIR=folder)
        assert made.finish(60) == 0, made.stderr
        made.clean_up()
        shutil.rmtree(folder)
        prepared.keep(spec, out)

    def start(self) -> CoordinatorClient:
        return CoordinatorClient.connect(self.begin())

    def begin(self) -> Invite:
        where = [str(self.run.folder / "coordinator"), str(self.port), str(self.run.spec)]
        self.process = Program([sys.executable, "-c", SERVER, *where])
        return Invite.parse(self.process.named("ready")["invite"])

    def kill(self) -> None:
        assert self.process
        self.process.clean_up()

    def stop(self) -> None:
        assert self.process
        self.process.interrupt()
        assert self.process.finish(10) == 0, self.process.stderr
        self.process.clean_up()

    def files(self) -> tuple[int, int]:
        """How many of the blobs nothing names, and how many that are named are not there."""
        folder = self.run.folder / "coordinator"
        store = open_store(load(self.run.spec).run.name, folder)
        brought = store.uploads()
        store.close()
        artefacts = read_artefacts(folder / "artefacts.json").files
        needed = {*artefacts, *copies.checkpoints(folder / copies.FILE)}
        needed |= {it.checkpoint.sha256 for it in brought if it.stage is Stage.ASIDE}
        coming = {it.checkpoint.sha256 for it in brought if it.stage is Stage.OFFERED}
        there = {path.name.partition(".")[0] for path in (folder / "blobs").iterdir()}
        return len(there - needed - coming), len(needed - there)


@dataclass
class Volunteer:
    """One member; `acknowledged` and `rejected` are receipts that it has seen, `unheard` reports without one."""

    identity: Identity
    chance: random.Random
    folder: Path
    acknowledged: set[Counted] = field(default_factory=set)
    rejected: set[Counted] = field(default_factory=set)
    unheard: list[pb.RoundReport] = field(default_factory=list)
    round: int = 0

    def work(self, invite: Invite, ended: threading.Event) -> None:
        """Until the coordinator dies."""
        try:
            with CoordinatorClient.connect(invite) as client:
                member = client.join(self.identity, "volunteer", round_=self.round).member_id
                while not ended.is_set():
                    self._report(client, member)
                    if self.round % _BRING_EVERY == 1:
                        self._bring(client, member)
                    self._lease(client, member)
        except UnreachableError:
            return

    def _lease(self, client: CoordinatorClient, member: str) -> None:
        lease = client.take_lease(member, _SAMPLES)
        used = [pb.LeasedRange(lease_id=lease.lease_id, range=lease.range)]
        digest = self._state(self.round + 1).digest
        self.unheard.append(pb.RoundReport(round=self.round, digest=digest, counted=used, loss=1.0))
        self.round += 1

    def _state(self, round_: int) -> pb.Checkpoint:
        """What everybody holds then; its file lies in the folder."""
        path = self.folder / "state"
        path.write_bytes(save({"model/w": np.full(4, round_, np.float32)}))
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        return pb.Checkpoint(round=round_, digest=state_digest(path), sha256=sha256, size=len(content))

    def _bring(self, client: CoordinatorClient, member: str) -> None:
        state = self._state(self.round)
        answer = client.offer_checkpoint(member, state)
        if answer.wanted:
            client.upload(member, self.folder / "state", state.sha256, answer.offset)

    def _report(self, client: CoordinatorClient, member: str) -> None:
        if not self.unheard:
            return
        for _ in range(self.chance.randint(1, 2)):  # the second time as after a lost answer
            for receipt in client.report_rounds(member, self.unheard).receipts:
                said = self.acknowledged if receipt.counted else self.rejected
                said.add((member, receipt.round, receipt.range.start, receipt.range.stop))
        self.unheard.clear()


@dataclass(frozen=True)
class Outcome:
    """What the store holds after so many kills, against what was acknowledged; files without a name and names without
    a file. Counts; seconds.
    """

    kills: int
    acknowledged: int
    rejected: int
    lost: int
    counted_twice: int
    checkpoint: int  # the round of the latest one
    stray: int
    missing: int
    seconds: float


def killed(server: Server, times: int, chance: random.Random, volunteers: int = 3) -> Outcome:
    """Kill it so many times at random moments of its life, also while it starts; then look at its ledger."""
    began = time.monotonic()
    people = [_volunteer(server.run.folder / f"volunteer{number}", chance) for number in range(volunteers)]
    for _ in range(times):
        with _working(people, server.begin()):
            time.sleep(chance.uniform(0.0, _LONGEST_LIFE))
            server.kill()
    with server.start() as client:
        entries = [entry for entry in client.ledger() if entry.state == "counted"]
        latest = client.get_run().latest.round
    server.stop()
    stray, missing = server.files()
    found = [(entry.member_id, entry.round, entry.range.start, entry.range.stop) for entry in entries]
    positions = [at for _, _, start, stop in found for at in range(start, stop)]
    acknowledged = {receipt for one in people for receipt in one.acknowledged}
    rejected = sum(len(one.rejected) for one in people)
    lost, twice = len(acknowledged - set(found)), len(positions) - len(set(positions))
    seconds = round(time.monotonic() - began, 1)
    return Outcome(times, len(acknowledged), rejected, lost, twice, latest, stray, missing, seconds)


def _volunteer(folder: Path, chance: random.Random) -> Volunteer:
    folder.mkdir()
    return Volunteer(Identity.from_seed(chance.randbytes(32)), random.Random(chance.random()), folder)


@contextmanager
def _working(people: list[Volunteer], invite: Invite) -> Iterator[None]:
    """All volunteers work until the block has ended and the coordinator with it."""
    ended = threading.Event()
    threads = [threading.Thread(target=one.work, args=(invite, ended)) for one in people]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)
