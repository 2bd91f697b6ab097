"""A real coordinator with a page and a run that looks like one: members, rounds, evaluations, texts in the log."""

from __future__ import annotations

import json
import math
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from coordinator.server import Coordinator, Settings
from coordinator.web.server import PageSettings
from swarm.client import CoordinatorClient
from swarm.identity import Identity
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import load
from tests.small_run import prepared

NAMES = ("Anna", "Ben’s old gaming PC", "Carla", "Dmitri", "Eva 🌱")
_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """What came over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class PageRun:
    """One coordinator; members are played with the real client."""

    def __init__(self, coordinator: Coordinator, folder: Path) -> None:
        self.coordinator = coordinator
        self.folder = folder
        self.identities = {name: Identity.from_seed(bytes([number]) * 32) for number, name in enumerate(NAMES, 1)}
        self.members: dict[str, str] = {}
        self.round = 0
        self._clients: list[CoordinatorClient] = []
        self._random = random.Random(4)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.coordinator.page_port}"

    def join(self, *names: str) -> None:
        for name in names:
            client = CoordinatorClient.connect(self.coordinator.invite)
            self._clients.append(client)
            self.members[name] = client.join(self.identities[name], name).member_id
            self.beat(name)

    def beat(self, name: str, phase: str = "training") -> None:
        """A sign of life."""
        pulse = pb.HeartbeatRequest(
            member_id=self.members[name],
            phase=phase,
            samples_per_second=12.5,
            round=self.round,
            why="waits for the round",
        )
        self._client(name).heartbeat(pulse)

    def make_rounds(self, count: int) -> None:
        """So many rounds, in each of which everybody trains on eight samples."""
        for _ in range(count):
            for name in self.members:
                self._report(name)
            self.round += 1

    def evaluate(self) -> None:
        """The held-out loss of the newest state."""
        name = next(iter(self.members))
        found = pb.Evaluation(
            round=self.round, digest=f"{self.round - 1:064x}", heldout_loss=self._loss() + 0.05, metrics={"chrF": 41.5}
        )
        self._client(name).report_evaluation(self.members[name], found)

    def checkpoints(self) -> list[pb.Checkpoint]:
        """As the coordinator tells members."""
        with CoordinatorClient.connect(self.coordinator.invite) as client:
            return list(client.checkpoints())

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def ask(self, method: str, path: str, body: bytes | None, **headers: str) -> Answer:
        """One request; header names with _ for -."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        request = urllib.request.Request(f"{self.url}{path}", data=body, headers=named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                return _answer(answer)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers.items()), error.read())

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _client(self, name: str) -> CoordinatorClient:
        return self._clients[list(self.members).index(name)]

    def _report(self, name: str) -> None:
        client, member = self._client(name), self.members[name]
        lease = client.take_lease(member, 8)
        used = pb.LeasedRange(lease_id=lease.lease_id, range=lease.range)
        done = pb.RoundReport(
            round=self.round,
            digest=f"{self.round:064x}",
            swarm_samples=8 * len(self.members),
            global_samples=8 * len(self.members) * (self.round + 1),
            group_size=len(self.members),
            counted=[used],
            loss=self._loss(),
            compute_seconds=3 + self._random.random(),
            exchange_seconds=0.6 + self._random.random() / 2,
            bytes_sent=270_000,
            bytes_received=1_080_000,
            finished_at=1.79e9 + 5 * self.round,
        )
        client.report_rounds(member, [done])

    def _loss(self) -> float:
        return 2.1 + 3.4 * math.exp(-self.round / 25) + self._random.gauss(0, 0.03)


def _answer(answer: HTTPResponse) -> Answer:
    return Answer(answer.status, dict(answer.headers.items()), answer.read())


@contextmanager
def page_run(folder: Path, *, shows_invite: bool = False, page_port: int = 0, fresh: bool = True) -> Iterator[PageRun]:
    """While the block lasts; `fresh`: the folder is made first."""
    folder.mkdir(parents=True, exist_ok=True)
    if fresh:
        prepared(folder)
    spec, host = load(folder / "run.toml"), "127.0.0.1"
    facts = {
        "title": "Legal German, from a hundred garages",
        "description": "A small translator that reads statutes, trained overnight by people who lend their machines.",
        "maintainer": "Mara <mara@example.org>",
    }
    spec = spec.model_copy(update={"run": spec.run.model_copy(update=facts)})
    page = PageSettings(host, page_port, shows_invite)
    coordinator = Coordinator(Settings(folder, host, 0, host, spec, (), heartbeat_seconds=600.0, page=page))
    coordinator.start()
    run = PageRun(coordinator, folder)
    try:
        yield run
    finally:
        run.close()
        coordinator.stop()


def settled(run: PageRun, rounds: int, seconds: float = 15.0) -> None:
    """Wait until the page knows of so many rounds. AssertionError when that takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = run.get("/api/run").json
        if len(found["rounds"]) >= min(rounds, 60) or sum(found["curves"]["rounds"]) >= rounds:
            return
        time.sleep(0.2)
    raise AssertionError(f"the page does not know of {rounds} rounds: {found['rounds'][-3:]}")
