"""Torn files as people meet them: `swarm launch` and `swarm join` refuse them in a sentence, or go on without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.swarm_run import SwarmRun, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def tear(path: Path) -> None:
    """Half of it is left, and its last block was never written."""
    size = path.stat().st_size // 2
    left = path.read_bytes()[:size]
    path.unlink()
    path.write_bytes(left[: max(0, size - 4096)] + bytes(min(size, 4096)))


def assert_refused(run: SwarmRun, code: int, *words: str) -> None:
    where = ["--data-dir", str(run.folder / "coordinator"), "--host", "127.0.0.1", "--port", "0"]
    program = run.command("launch", str(run.spec), *where)
    assert program.finish(40) == code, program.stderr
    assert program.stderr.startswith("swarm: ")
    assert "Traceback" not in program.stderr
    for word in words:
        assert word in program.stderr, program.stderr


@pytest.mark.long
def test_a_coordinators_torn_files(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=2, every=1) as run:
        run.launch().interrupt()
        assert run.programs[0].finish(20) == 0
        folder = tmp_path / "coordinator"
        for name, words in {
            "coordinator.sqlite": ("coordinator.sqlite", "swarm restore"),
            "token": ("token", "stay valid"),
            "tls.pem": ("tls.pem", "backup"),
            "artefacts.json": ("artefacts.json", "Delete"),
            "run.toml": ("run.toml", "in its place"),
        }.items():
            whole = (folder / name).read_bytes()
            tear(folder / name)
            assert_refused(run, 12, *words)
            (folder / name).write_bytes(whole)
        for name in ("p2p.key", "p2p.port", "p2p.folder"):
            tear(folder / name)
        run.launch()
        log = (folder / "coordinator.log").read_text()
        assert all(f"{name} is torn" in log for name in ("p2p.key", "p2p.port", "p2p.folder"))
        assert "Traceback" not in log


@pytest.mark.long
def test_a_volunteers_torn_files(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=2, every=1) as run:
        run.launch()
        config = tmp_path / "home" / "config.toml"
        set_ = run.command("config", "set", "limits.watts", "500")
        assert set_.finish(20) == 0, set_.stderr
        whole = config.read_text()
        config.write_text(whole[: whole.rindex("[limits]")])
        peer = tmp_path / "peer"
        refused = run.join("peer")
        assert refused.finish(20) == 2
        assert str(config) in refused.stderr
        config.write_text(whole)
        for name in ("outbox.sqlite", "session", "p2p.port", "consent.json"):
            (peer / name).write_bytes(b"\0" * 9)
        joined = run.join("peer")
        assert joined.finish(60) == 0, joined.stderr
        notes = [event["text"] for event in joined.every("note") if "outbox.sqlite" in event["text"]]
        assert len(notes) == 1
        assert "was set aside" in notes[0]
        assert (peer / "outbox.sqlite.torn").exists()
        assert "Traceback" not in joined.stderr + (peer / "peer.log").read_text()
        assert joined.every("end")[0]["counted"] > 0
