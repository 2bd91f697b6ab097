"""`swarm demo`: a whole swarm of real processes on this machine, from nothing to a trained model."""

from __future__ import annotations

import json
import queue
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import AsJson, DataDir
from swarm.errors import StalledError

if TYPE_CHECKING:
    from swarm.cli.programs import Event, Program
    from swarm.client import CoordinatorClient

_PREPARE_SECONDS = 120.0
_SILENCE_SECONDS = 60.0  # without a finished round


def demo(
    peers: Annotated[int, typer.Option("--peers", min=1, max=16, help="How many peers train together.")] = 3,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", min=1, help="How many rounds they train; by default 60.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Train a tiny model with a coordinator and some peers, all on this machine; ends by itself."""
    from swarm import paths
    from swarm.cli.demo_screen import open_demo_screen
    from swarm.cli.programs import end_all

    folder = data_dir or paths.home() / "demo"
    with open_demo_screen(as_json) as show:
        run = Demo(_empty(folder), peers, show)
        try:
            run.launch(_spec(folder, rounds))
            run.join()
            run.watch()
            show({"event": "result", **run.result()})
        finally:
            end_all([*run.peers, *run.coordinators])


def _empty(folder: Path) -> Path:
    """The folder without the last demo's files; anything else in it is left alone."""
    for name in ("coordinator", "peers"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _spec(folder: Path, rounds: int | None) -> Path:
    """Write the demo's run spec, with another number of rounds if asked."""
    from swarm import runspec

    spec = runspec.loads(resources.files("swarm.cli").joinpath("demo.toml").read_text())
    if rounds:
        warmup = min(spec.training.warmup_samples, rounds * spec.training.target_batch_size // 4)
        training = spec.training.model_copy(update={"rounds": rounds, "warmup_samples": warmup})
        spec = spec.model_copy(update={"training": training})
    path = folder / "demo.toml"
    path.write_text(spec.to_toml())
    return path


@dataclass
class Demo:
    """The demo's processes, in the order of its life: launch, join, watch, result."""

    folder: Path
    count: int
    show: Callable[[Event], None]
    started: float = field(default_factory=time.monotonic)
    events: queue.SimpleQueue[tuple[str, Event]] = field(default_factory=queue.SimpleQueue)
    coordinators: list[Program] = field(default_factory=list)
    peers: list[Program] = field(default_factory=list)
    invite: str = ""
    digests: dict[int, set[str]] = field(default_factory=dict)  # what the peers held after each round

    def launch(self, spec: Path) -> None:
        """Start the coordinator and wait for its invite. Raises SwarmError with its own words when it fails."""
        from swarm.cli.programs import Program, arriving

        where = ["--data-dir", str(self.folder / "coordinator"), "--host", "127.0.0.1", "--port", "0"]
        coordinator = Program("the coordinator", ["launch", str(spec), *where], self.events)
        coordinator.start()
        self.coordinators.append(coordinator)
        end = time.monotonic() + _PREPARE_SECONDS
        while not self.invite and time.monotonic() < end:
            coordinator.require_success()
            for _, event in arriving(self.events, 0.2):
                self._heard(event)
        if not self.invite:
            raise StalledError(
                "The coordinator was not ready in two minutes.", "Look at its log in the data directory."
            )

    def _heard(self, event: Event) -> None:
        text = str(event.get("text", ""))
        if text.startswith("swarm://"):
            self.invite = text
        elif text and not self.invite:
            self.show({"event": "note", "text": text})

    def join(self) -> None:
        """Start the peers."""
        from swarm.cli.programs import Program
        from swarm.identity import Identity

        self.show({"event": "start", "peers": self.count, "total_rounds": self._total_rounds(), "invite": self.invite})
        for number in range(1, self.count + 1):
            name = f"peer-{number}"
            folder = self.folder / "peers" / name
            Identity.load_or_create(folder)  # each stands for another volunteer
            where = ["--data-dir", str(folder), "--name", name]
            arguments = ["join", self.invite, *where, "--threads", "1", "--device", "cpu", "--yes", "--json"]
            peer = Program(name, arguments, self.events)
            peer.start()
            self.peers.append(peer)

    def watch(self) -> None:
        """Show what the peers say until all have ended. Raises SwarmError when one fails or nothing happens."""
        from swarm.cli.programs import arriving

        last = time.monotonic()
        while any(peer.ended() is None for peer in self.peers):
            for name, event in arriving(self.events, 0.1):
                self.show({**event, "peer": name})
                if event["event"] == "round" and event["digest"]:
                    self.digests.setdefault(event["round"], set()).add(event["digest"])
                    last = time.monotonic()
            for program in [*self.peers, *self.coordinators]:
                program.require_success()
            if time.monotonic() - last > _SILENCE_SECONDS:
                raise StalledError(
                    f"No round was finished for {_SILENCE_SECONDS:.0f} s.", f"The logs are in {self.folder}."
                )

    def result(self) -> dict[str, Any]:
        """What came out: losses before and after, rounds, credit, digests, the checkpoint, a text sample."""
        from swarm.client import CoordinatorClient
        from swarm.invite import Invite

        with CoordinatorClient.connect(Invite.of(self.invite)) as client:
            status = client.status()
            last = self._fetch(client)
        evaluated = self._evaluate(last)
        return {
            "rounds": status.round,
            "samples": status.global_samples,
            "counted": {member.name: member.counted_samples for member in status.members},
            "digests_agree": all(len(held) == 1 for held in self.digests.values()),
            "digest": status.latest.digest,
            "heldout_loss_before": evaluated["losses"][0],
            "heldout_loss_after": evaluated["losses"][1],
            "checkpoint": str(last),
            "sample": evaluated["sample"],
            "seconds": round(time.monotonic() - self.started, 1),
        }

    def _total_rounds(self) -> int:
        from swarm import runspec

        return runspec.load(self.folder / "demo.toml").training.rounds

    def _fetch(self, client: CoordinatorClient) -> Path:
        """The last checkpoint under a name for people, beside the one of round 0."""
        found = sorted(client.checkpoints(), key=lambda item: item.round)
        for item, name in ((found[0], "start"), (found[-1], f"round-{found[-1].round}")):
            client.download(item.sha256, item.size, self.folder / f"demo-{name}.safetensors")
        return self.folder / f"demo-round-{found[-1].round}.safetensors"

    def _evaluate(self, last: Path) -> dict[str, Any]:
        from swarm.cli.children import run_child

        self.show({"event": "note", "text": "measuring the loss on text that nobody trained on"})
        first_peer = self.folder / "peers" / "peer-1"
        artefacts = json.loads((self.folder / "coordinator" / "artefacts.json").read_text())
        heldout = self.folder / "coordinator" / "blobs" / artefacts["heldout"]["sha256"]
        states = [str(self.folder / "demo-start.safetensors"), str(last)]
        where = ["--model", str(first_peer / "model"), "--heldout", str(heldout), "--states", *states]
        evaluated: dict[str, Any] = {}
        run_child("peer.evaluate", where, self.folder / "evaluate.log", evaluated.update)
        return evaluated
