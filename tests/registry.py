"""Debian's docker-registry as a real process on a free port of this machine, for tests and benchmarks."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.swarm_run import free_port

PROGRAMS = ("docker-registry", "skopeo")
MISSING = [name for name in PROGRAMS if not shutil.which(name)]
NEEDS = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (scripts/debian_packages.sh)")


@dataclass(frozen=True)
class Served:
    """A registry that runs."""

    host: str  # 127.0.0.1:PORT
    storage: Path
    log: Path
    pid: int

    def cpu_seconds(self) -> float:
        """That it took of processors until now."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def sent(self) -> int:
        """Bytes that it gave out, by its log."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return sum(
            int(line.get("http.response.written", 0)) for line in lines if line.get("http.request.method") == "GET"
        )

    def settled(self) -> int:
        """The same, once it has noticed which of its clients are gone: an answer is in the log when it ended."""
        before = -1
        while (now := self.sent()) != before:
            before = now
            time.sleep(0.5)
        return now


@contextmanager
def registry(folder: Path, **sections: Any) -> Iterator[Served]:
    """Serve from `folder`; `sections` go into its configuration, such as `auth`."""
    host = f"127.0.0.1:{free_port()}"
    storage = folder / "storage"
    settings = {
        "version": "0.1",
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": {"addr": host, "secret": "a secret of tests"},
        **sections,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(json.dumps(settings))  # JSON is YAML, too
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _wait(host, process)
        yield Served(host, storage, folder / "log", process.pid)
    finally:
        process.kill()
        process.wait()


def _wait(host: str, process: subprocess.Popen[bytes]) -> None:
    address, _, port = host.partition(":")
    for _ in range(200):
        assert process.poll() is None, "docker-registry did not start"
        try:
            socket.create_connection((address, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("docker-registry does not listen")
