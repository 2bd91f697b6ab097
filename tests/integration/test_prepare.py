"""`python -m peer.prepare` as a process: artefacts that fit the architecture, equal bytes, errors with exit codes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from peer.checkpoint import read_state, state_digest
from peer.data import Batches, read_samples
from peer.model import evaluate, load_model, load_tokenizer, trainable
from swarm.ranges import Layout, Range
from swarm.tensorfile import sha256_file

SPEC = """
[run]
name = "test"
[model]
source = "preset:tiny-llama"
tokenizer = "{tokenizer}"
[data]
source = "{source}"
sequence_length = {length}
[training]
rounds = 2
target_batch_size = 4
micro_batch_size = 2
"""


def spec_file(folder: Path, source: str = "text.txt", tokenizer: str = "bpe:300", length: int = 16) -> Path:
    path = folder / "run.toml"
    path.write_text(SPEC.format(source=source, tokenizer=tokenizer, length=length))
    (folder / "text.txt").write_text("\n\n".join(f"Number {n}: the quick brown fox. " * 9 for n in range(90)))
    return path


def prepare(spec: Path, out: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "peer.prepare", "--spec", str(spec), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def blobs(artefacts: dict[str, Any]) -> list[dict[str, Any]]:
    return [*artefacts["model"], *artefacts["shards"], artefacts["heldout"], artefacts["checkpoint"]]


@pytest.mark.processes
def test_the_artefacts_are_whole_and_the_same_again(tmp_path: Path) -> None:
    spec = spec_file(tmp_path)
    first, second = prepare(spec, tmp_path / "one"), prepare(spec, tmp_path / "two")
    assert (first.returncode, first.stderr) == (0, "")
    lines = [json.loads(line) for line in first.stdout.splitlines()]
    assert all(line.keys() in ({"step", "detail"}, {"documents", "total"}) for line in lines)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    artefacts = json.loads((tmp_path / "one" / "artefacts.json").read_text())
    for blob in blobs(artefacts):
        path = tmp_path / "one" / "blobs" / blob["sha256"]
        assert (sha256_file(path), path.stat().st_size) == (blob["sha256"], blob["size"])
    assert second.returncode == 0
    _usable(tmp_path / "one", artefacts)


def _usable(out: Path, artefacts: dict[str, Any]) -> None:
    """What a volunteer does with them."""
    store, layout = out / "blobs", artefacts["layout"]
    tensors, metadata = read_state(store / artefacts["checkpoint"]["sha256"])
    assert state_digest(tensors) == artefacts["checkpoint"]["digest"]
    assert (metadata["round"], metadata["global_samples"], metadata["run"]) == ("0", "0", "test")
    model = load_model(out / "model")
    assert {f"model/{name}" for name in trainable(model)} < tensors.keys()
    assert layout["targets_per_sample"] == layout["sequence_length"]
    assert artefacts["facts"]["train_samples"] == sum(layout["shard_samples"])
    heldout = store / artefacts["heldout"]["sha256"]
    digests = tuple(blob["sha256"] for blob in artefacts["shards"])
    shape = Layout(tuple(layout["shard_samples"]), layout["sequence_length"], layout["seed"])
    batch = Batches(shape, digests, lambda shard: store / digests[shard]).load(Range(0, 8)).tokens
    assert batch.shape == (8, 17)
    assert "quick brown" in load_tokenizer(out / "model").decode(batch.flatten().tolist())
    assert read_samples(heldout).tokens.shape[1] == 17
    assert 4 < evaluate(model, heldout, 8) < 8


@pytest.mark.long
@pytest.mark.processes
def test_a_second_time_keeps_what_is_there_and_a_missing_blob_is_made_again(tmp_path: Path) -> None:
    spec = spec_file(tmp_path)
    assert prepare(spec, tmp_path / "run").returncode == 0
    before = files(tmp_path / "run")
    assert "prepared before" in prepare(spec, tmp_path / "run").stdout
    shard = json.loads(before["artefacts.json"])["shards"][0]
    (tmp_path / "run" / "blobs" / shard["sha256"]).unlink()
    assert prepare(spec, tmp_path / "run").returncode == 0
    assert files(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("keys", "code", "status", "what"),
    [
        pytest.param({"source": "none.txt"}, "DATA", 9, "none.txt", marks=pytest.mark.long),
        ({"length": 8192}, "DATA", 9, "too short"),
        ({"tokenizer": "bpe:1"}, "SPEC", 3, "model.tokenizer"),
    ],
)
@pytest.mark.processes
def test_an_error_is_the_last_line_and_the_exit_status(
    tmp_path: Path, keys: dict[str, Any], code: str, status: int, what: str
) -> None:
    ended = prepare(spec_file(tmp_path, **keys), tmp_path / "run")
    last = json.loads(ended.stdout.splitlines()[-1])
    assert (last["error"], ended.returncode, ended.stderr) == (code, status, "")
    assert what in last["what"]
    assert last["remedy"]
    assert not (tmp_path / "run" / "artefacts.json").exists()


@pytest.mark.processes
@pytest.mark.long
def test_a_full_disk_is_said_and_the_next_try_succeeds(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the operating system refuses the write in the same place."""
    spec = spec_file(tmp_path)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    ended = prepare(spec, tmp_path / "run", preexec_fn=limit)
    assert ended.returncode in (1, 10)
    assert "error" in json.loads(ended.stdout.splitlines()[-1])
    assert not [name for name in files(tmp_path / "run") if name.endswith(".tmp")]
    assert prepare(spec, tmp_path / "run").returncode == 0
