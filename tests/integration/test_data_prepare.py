"""`swarm data prepare` and its child processes: the same bytes always, on after a kill -9, nothing left behind."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from peer.data import read_samples
from peer.model import evaluate, load_model, load_tokenizer
from tests.integration.test_prepare import files, prepare

pytestmark = pytest.mark.processes

PARLIAMENT = Path(__file__).parents[2].parent / "shared/data/parliament-en-de.jsonl"
SPEC = """
[run]
name = "test"
[model]
source = "preset:tiny-llama"
tokenizer = "bpe:400"
[data]
source = "{source}"
format = "translation"
pair = "en<>de"
sequence_length = 64
[training]
rounds = 2
target_batch_size = 4
micro_batch_size = 2
"""
NUMBERS = [f"{number:03}" for number in range(1000)]


def spec_file(folder: Path, pairs: int = 200, source: str = "pairs.jsonl") -> Path:
    path = folder / "run.toml"
    path.write_text(SPEC.format(source=source))
    draw = random.Random(4)
    with (folder / "pairs.jsonl").open("w") as file:
        for number in range(pairs):
            counted = " ".join(draw.choices(NUMBERS, k=9))
            pair = {
                "en": f"The cat of house {number} sees {counted}.",
                "de": f"Die Katze aus {number} sieht {counted}.",
            }
            file.write(json.dumps(pair) + "\n")
    return path


def command(spec: Path, out: Path, jobs: int) -> list[str]:
    return [sys.executable, "-m", "peer.prepare", "--spec", str(spec), "--out", str(out), "--jobs", str(jobs)]


def swarm(*arguments: object) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "swarm.cli", *map(str, arguments)]
    return subprocess.run(whole, capture_output=True, text=True, timeout=90, check=False)


def computed(output: str) -> tuple[int, int]:
    """How many blocks were computed, and how many there are."""
    [line] = [line for line in output.splitlines() if "blocks of documents" in line]
    words = json.loads(line)["detail"].split()
    return int(words[0]), int(words[2])


def begun(spec: Path, out: Path, jobs: int) -> subprocess.Popen[str]:
    """A preparation that has just finished its first block."""
    child = subprocess.Popen(command(spec, out, jobs), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout
    assert any('"documents"' in line for line in child.stdout)
    return child


def ended(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=10)
    return not alive


@pytest.mark.parametrize("source", ["pairs.jsonl", pytest.param(str(PARLIAMENT), marks=pytest.mark.long)])
def test_pairs_become_whole_samples_that_a_model_can_learn(tmp_path: Path, source: str) -> None:
    if not Path(tmp_path, source).exists() and source != "pairs.jsonl":
        pytest.skip("the parliament's pairs are not here")
    out = tmp_path / "run"
    ended = prepare(spec_file(tmp_path, source=source), out)
    assert (ended.returncode, ended.stderr) == (0, "")
    made: dict[str, Any] = json.loads((out / "artefacts.json").read_text())
    heldout = read_samples(out / "blobs" / made["heldout"]["sha256"])
    shards = [read_samples(out / "blobs" / shard["sha256"]) for shard in made["shards"]]
    assert heldout.tokens.shape == (made["facts"]["heldout_samples"], 65)
    assert sum(map(len, shards)) == made["facts"]["train_samples"]
    learned = sum(int((shard.marks > 0).sum()) for shard in shards if shard.marks is not None)
    assert made["layout"]["targets_per_sample"] == pytest.approx(learned / made["facts"]["train_samples"])
    _answers_only(out, shards[0])
    assert 4 < evaluate(load_model(out / "model"), out / "blobs" / made["heldout"]["sha256"], 8) < 8
    assert not (out / "blocks").exists()


def _answers_only(out: Path, samples: Any) -> None:
    tokenizer = load_tokenizer(out / "model")
    for tokens, marks in zip(samples.tokens[:20], samples.marks[:20], strict=True):
        for number in range(1, int(marks.abs().max()) + 1):
            text = tokenizer.decode(tokens[marks.abs() == number])
            answer = tokenizer.decode(tokens[marks == number])
            assert text.startswith("Translate from ")
            assert "Translate" not in answer
            assert text.endswith(answer)


@pytest.mark.long
def test_any_number_of_jobs_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, pairs=1500)
    for jobs in (1, 3):
        assert subprocess.run(command(spec, tmp_path / str(jobs), jobs), timeout=60, check=True, capture_output=True)
    assert files(tmp_path / "1") == files(tmp_path / "3")


@pytest.mark.long
def test_a_killed_preparation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, pairs=6_000)
    child = begun(spec, tmp_path / "run", 2)
    family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
    child.kill()
    child.communicate()
    assert ended(family)
    assert not (tmp_path / "run" / "artefacts.json").exists()
    again, fresh = prepare(spec, tmp_path / "run"), prepare(spec, tmp_path / "fresh")
    assert 0 < computed(again.stdout)[0] < computed(again.stdout)[1]
    assert computed(fresh.stdout) == (12, 12)
    assert files(tmp_path / "run") == files(tmp_path / "fresh")


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGKILL])
def test_the_end_of_the_command_ends_all_its_processes(tmp_path: Path, number: signal.Signals) -> None:
    spec = spec_file(tmp_path, pairs=6_000)
    where = ["--data-dir", str(tmp_path / "run"), "--jobs", "2"]
    command = [sys.executable, "-m", "swarm.cli", "data", "prepare", str(spec), *where]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    blocks, end = tmp_path / "run" / "blocks", time.monotonic() + 30
    while not (blocks.exists() and any(blocks.iterdir())) and time.monotonic() < end:
        time.sleep(0.02)
    family = psutil.Process(child.pid).children(recursive=True)
    assert len(family) >= 3
    child.send_signal(number)
    child.wait(10)
    assert ended(family)


def test_the_command_shows_the_facts_and_warns_of_what_leaked(tmp_path: Path) -> None:
    spec = spec_file(tmp_path)
    with (tmp_path / "pairs.jsonl").open("r+") as file:
        lines = file.readlines()
        file.writelines(lines)  # every pair once more: each copy lies on the same side, by its hash
        file.writelines(line.replace("The cat", "A cat") for line in lines)
    done = swarm("data", "prepare", spec, "--data-dir", tmp_path / "run", "--jobs", 1)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads((tmp_path / "run" / "artefacts.json").read_text())["facts"]
    report = json.loads((tmp_path / "run" / "near-duplicates.json").read_text())
    assert facts["documents"] == 600
    assert facts["near_duplicates"] == report["near_duplicates"] >= 395
    assert 0 < facts["leaked"] == report["leaked"] <= 100
    assert f"Warning: {facts['leaked']} held-out documents" in done.stdout
    assert str(tmp_path / "run" / "near-duplicates.json") in done.stdout.replace("\n", "")
    first = report["pairs"][0]
    assert first["leaked"] is True
    assert first["similarity"] >= 0.8
    assert first["document"]["origin"].startswith(f"{tmp_path / 'pairs.jsonl'}, line ")
    assert 0 < len(first["like"]["text"]) <= 80
    assert "prepared before" in swarm("data", "prepare", spec, "--data-dir", tmp_path / "run").stdout
