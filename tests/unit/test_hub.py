"""The hub's files against a run's, with a hub of a few lines on loopback."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

REVISION = "a" * 40
DATA = b"weights" * 1000

FETCH = """\

import json, sys
from pathlib import Path
from peer import hub
from peer.base import manifests
from swarm.errors import SwarmError
try:
    hub.fetch("org/name", sys.argv[1], manifests(json.loads(sys.argv[2])), Path(sys.argv[3]))
except SwarmError as error:
    print(error.code, error)
"""


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of a hub for one file."""

    def do_GET(self) -> None:
        body = DATA if "/resolve/" in self.path else json.dumps({"id": "org/name", "sha": REVISION}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{hashlib.sha256(DATA).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(endpoint: str, data: bytes, tmp_path: Path) -> str:
    facts = {"name": "model.safetensors", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    command = [sys.executable, "-c", FETCH, REVISION, json.dumps([facts]), str(tmp_path / "cache" / "blobs")]
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert done.stderr == ""
    return done.stdout


def test_what_the_hub_gives_is_verified_and_kept_in_the_cache(endpoint: str, tmp_path: Path) -> None:
    assert fetch(endpoint, DATA, tmp_path) == ""
    sha256 = hashlib.sha256(DATA).hexdigest()
    assert (tmp_path / "cache" / "blobs" / sha256).read_bytes() == DATA
    assert list((tmp_path / "cache" / "hub").iterdir()) == []


def test_what_is_another_base_is_refused(endpoint: str, tmp_path: Path) -> None:
    said = fetch(endpoint, DATA[:-1] + b"S", tmp_path)
    assert said.startswith("MODEL What the hub gives as org/name is not the base of this run")
    assert "--from-hub" in said


def test_a_hub_that_is_out_of_reach_is_said_so(tmp_path: Path) -> None:
    assert fetch("http://127.0.0.1:9", DATA, tmp_path).startswith("MODEL The hub http://127.0.0.1:9 is out of reach")
