"""Shards that a run keeps on the hub, here a hub of a few lines on loopback: read by index, verified, or left."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.swarm_run import SwarmRun, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of a hub for files of one data set, which lie in `folder`."""

    def __init__(self, folder: Path, asked: list[str], *rest: object) -> None:
        self.folder = folder
        self.asked = asked
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        body = (
            (self.folder / name).read_bytes() if "/resolve/" in self.path else json.dumps({"id": "org/name"}).encode()
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", '"1"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
            self.asked.append(name)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files that were asked for, in order."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, tmp_path / "coordinator" / "shards", asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    yield asked
    server.shutdown()
    server.server_close()


def launch(run: SwarmRun) -> None:
    spec = run.spec.read_text().replace("sequence_length", 'shards = "hf:org/name"\nsequence_length')
    run.spec.write_text(spec)
    run.launch()


def told(run: SwarmRun) -> str:
    """All that a peer says from its join to the end of the run."""
    peer = run.join("one")
    assert peer.finish(60) == 0, peer.stderr
    return json.dumps(peer.events)


@pytest.mark.long
def test_a_peer_reads_the_shards_of_its_leases_from_the_hub(hub: list[str], tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=2) as run:
        launch(run)
        said = told(run)
    assert "shard-00000.safetensors" in hub
    assert "shard" not in said  # nothing to tell, and nothing fetched from the coordinator
    assert not (tmp_path / "one" / "hub" / "dataset").exists()


@pytest.mark.long
def test_a_shard_that_is_not_the_runs_is_left_and_the_swarm_gives_its_own(hub: list[str], tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=2) as run:
        launch(run)
        for path in (tmp_path / "coordinator" / "shards").iterdir():
            path.unlink()
            path.write_bytes(b"something else")
        said = told(run)
    assert hub.count("shard-00000.safetensors") == 1
    assert "What the hub gives as shard-00000.safetensors of org/name is not this run's" in said
