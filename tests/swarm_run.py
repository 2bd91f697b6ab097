"""A whole swarm in a test: `swarm launch` and `swarm join` as a user runs them, in processes of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from peer.data import Batches
from swarm.client import CoordinatorClient
from swarm.identity import Identity
from swarm.invite import Invite
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Layout
from tests import prepared
from tests.harness import Event, Program

SPEC = """
[run]
name = "test"

[model]
source = "preset:tiny-llama"
tokenizer = "bytes"

[data]
source = "{corpus}"
sequence_length = 32

[training]
rounds = {rounds}
target_batch_size = {batch}
micro_batch_size = 4
warmup_samples = 24

[exchange]
compression = "{compression}"
grace_seconds = 5.0
timeout_seconds = 15.0

[checkpoint]
every_rounds = {every}
"""

LOCAL = """
[local]
steps = 4
batch_size = 4
window_seconds = 30.0
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def swarm_words(*arguments: str) -> list[str]:
    """The command line of a swarm command."""
    return [sys.executable, "-m", "swarm.cli", *arguments]


def swarm_command(*arguments: str, **environment: str) -> Program:
    return Program(swarm_words(*arguments), **environment)


class SwarmRun:
    """One run in `folder`: `launch`, `join`, ask the coordinator, restart what you like."""

    def __init__(self, folder: Path, **values: Any) -> None:
        self.folder = folder
        self.host = "127.0.0.1"  # the coordinator's address
        self.home = "coordinator"  # its folder
        self.port = free_port()
        self.programs: list[Program] = []
        self.invite = ""
        self.environment: dict[str, str] = {}  # of programs that are started from now on
        self._values = {"rounds": 6, "batch": 24, "every": 3, "compression": "none", "letters": 30_000, **values}
        self.spec = folder / "run.toml"

    def write_spec(self, **values: Any) -> Path:
        corpus = self.folder / "corpus.txt"
        if not corpus.exists():
            corpus.write_text(text(self._values["letters"]))
        self.spec.write_text(SPEC.format(corpus=corpus.name, **{**self._values, **values}))
        return self.spec

    def launch(self, seconds: float = 60.0, *options: str) -> Program:
        """Start the coordinator and wait for the invite."""
        prepared.take(self.spec, self.folder / self.home)
        program = self.coordinate(*options)
        self.invite = program.wait_for(is_invite, seconds)["text"]
        prepared.keep(self.spec, self.folder / self.home)
        return program

    def coordinate(self, *options: str) -> Program:
        """Start the coordinator."""
        where = ["--data-dir", str(self.folder / self.home), "--host", self.host, "--port", str(self.port)]
        return self.on("coordinator", "launch", str(self.spec), *where, *options)

    def join(self, name: str, *options: str) -> Program:
        """A peer of a volunteer of its own."""
        Identity.load_or_create(self.folder / name)
        where = ["--data-dir", str(self.folder / name), "--name", name, "--threads", "1", "--device", "cpu"]
        return self.on(name, "join", self.invite, *where, "--yes", "--json", *options)

    def on(self, host: str, *arguments: str) -> Program:
        """A command on the machine `host`, which is this one for all hosts unless a run has several."""
        return self.command(*arguments)

    def command(self, *arguments: str) -> Program:
        """Any other command, with its files in this run's folder."""
        return self.track(swarm_command(*arguments, SWARM_HOME=str(self.folder / "home"), **self.environment))

    def track(self, program: Program) -> Program:
        """End this program, too, when the test ends."""
        self.programs.append(program)
        return program

    def batches(self) -> Batches:
        """The run's samples by position, from the coordinator's files."""
        with self.client() as client:
            run = client.get_run()
        digests = tuple(shard.sha256 for shard in run.shards)
        return Batches(self.layout(run), digests, lambda index: self.blob(digests[index]))

    def layout(self, run: pb.Run) -> Layout:
        return Layout(tuple(run.layout.shard_samples), run.layout.sequence_length, run.layout.seed)

    def first_checkpoint(self) -> Path:
        """The file of the state that the run began with."""
        with self.client() as client:
            return self.blob(min(client.checkpoints(), key=lambda item: item.round).sha256)

    def blob(self, sha256: str) -> Path:
        """A file of the coordinator's."""
        return self.folder / self.home / "blobs" / sha256

    def client(self) -> CoordinatorClient:
        return CoordinatorClient.connect(Invite.parse(self.invite))

    def clean_up(self) -> None:
        """Ctrl-C for all that still runs, the coordinators last; then kill."""
        for program in reversed(self.programs):
            if program.process.poll() is None:
                program.interrupt()
        for program in reversed(self.programs):
            with suppress(subprocess.TimeoutExpired):
                program.process.wait(8)
            program.clean_up()


@contextmanager
def swarm_run(folder: Path, **values: Any) -> Iterator[SwarmRun]:
    run = SwarmRun(folder, **values)
    run.write_spec()
    try:
        yield run
    finally:
        run.clean_up()


def local(run: SwarmRun, more: str = "") -> None:
    """Make the run one of local mode."""
    spec = run.spec.read_text().replace("[training]", '[training]\nmode = "local"')
    run.spec.write_text(spec + LOCAL + more)


def text(letters: int) -> str:
    """English with many paragraphs; every CPython brings it along."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[key] for key in sorted(topics))[:letters]


def is_invite(event: Event) -> bool:
    """Whether the coordinator prints its invite, and so can be reached."""
    return str(event.get("text", "")).startswith("swarm://")


def took_part(event: Event) -> bool:
    """Whether it says of a round that this peer finished it."""
    return event.get("event") == "round" and not event["dropped_why"]


def rounds(program: Program) -> list[Event]:
    """The rounds that a peer took part in, with its own samples counted."""
    return [event for event in program.events if took_part(event)]


def after_round(number: int) -> Any:
    """For `Program.wait_for`: the peer finished round `number` or a later one."""
    return lambda event: took_part(event) and event["round"] >= number


def together(members: int, later_than: int = -1) -> Any:
    """For `Program.wait_for`: the peer took part in a round with that many members, after round `later_than`."""
    return lambda event: took_part(event) and event["members"] == members and event["round"] > later_than


def weighs(part: str) -> Any:
    """For `Program.wait_for`: the peer hears that its samples weigh `part` of full ones, and why."""

    def heard(event: Event) -> bool:
        return event["event"] == "note" and f"weighs {part} of a full one" in event["text"]

    return heard


def digests(peers: list[Program]) -> dict[int, set[str]]:
    """What any peer held after each round."""
    held: dict[int, set[str]] = {}
    for peer in peers:
        for event in rounds(peer):
            held.setdefault(event["round"], set()).add(event["digest"])
    return held
