"""A run with a base, as a volunteer meets it: fetched, given on, cached; a wrong copy is refused before training."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from peer.base import base_blobs
from tests.harness import Program
from tests.swarm_run import SwarmRun, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120), pytest.mark.long]

NAME = "model-00001-of-00001.safetensors"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 9 MB that pass for weights; what is trained here does not read them."""
    monkeypatch.setenv("SWARM_HOME", str(tmp_path / "home"))
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / NAME).write_bytes(os.urandom(9 << 20))
    return folder


def launch_with_base(run: SwarmRun, base: Path) -> Program:
    """Launch, then again with a base among the artefacts."""
    first = run.launch()
    first.interrupt()
    assert first.finish() == 0
    path = run.folder / "coordinator" / "artefacts.json"
    facts = json.loads(path.read_text())
    assert facts["base"] == []
    facts["base"] = base_blobs(base, run.folder / "coordinator" / "blobs")
    path.write_text(json.dumps(facts))
    return run.launch()


def test_the_base_is_fetched_once_cached_and_under_its_name(base: Path, tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=4) as run:
        coordinator = launch_with_base(run, base)
        peers = [run.join("one"), run.join("two")]
        for peer in peers:
            assert peer.finish(60) == 0, peer.stderr
            assert peer.stderr == ""
        sha256 = json.loads((run.folder / "coordinator" / "artefacts.json").read_text())["base"][0]["sha256"]
        cached = tmp_path / "home" / "cache" / "blobs" / sha256
        assert cached.read_bytes() == (base / NAME).read_bytes()
        for name in ("one", "two"):
            assert (tmp_path / name / "model" / NAME).samefile(cached)
        assert sorted(path.name for path in cached.parent.iterdir()) == [sha256, f"{sha256}.stamp"]
        coordinator.interrupt()
        assert coordinator.finish() == 0


def test_a_copy_of_another_model_ends_the_join_before_training(base: Path, tmp_path: Path) -> None:
    with swarm_run(tmp_path) as run:
        launch_with_base(run, base)
        other = tmp_path / "other"
        other.mkdir()
        (other / NAME).write_bytes(b"another model")
        peer = run.join("one", "--base", str(other))
        assert peer.finish(60) == 14
        assert "differs from the run's" in peer.stderr
        assert NAME in peer.stderr
        assert peer.every("round") == []
        peer = run.join("two", "--from-hub")
        assert peer.finish(60) == 2
        assert "is on no hub" in peer.stderr


def test_the_right_copy_is_used_where_it_lies(base: Path, tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=2) as run:
        launch_with_base(run, base)
        peer = run.join("one", "--base", str(base))
        assert peer.finish(60) == 0, peer.stderr
        assert (tmp_path / "one" / "model" / NAME).samefile(base / NAME)
