"""Suites of others: what their reports say, and what is said where they are not installed. The libraries themselves run
where they are installed: `pip install "garage-swarm[evals,redteam]"`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from peer import lmeval
from swarm import extras
from swarm.cli import suites
from swarm.cli.trialing import Subject
from swarm.errors import SwarmError, UsageError
from tests.harness import ROOT
from tests.tiny_base import make_base

TASK = """\
task: animals
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
INSPECT = """\
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

@task
def animals():
    samples = [Sample(input="The cat sat on the", target="mat"), Sample(input="The cat", target="xylophone")]
    return Task(dataset=samples, solver=[generate()], scorer=includes())
"""

# Lines as garak 0.17.1 and Inspect 0.3.285 wrote them, shortened.
GARAK = [
    {"entry_type": "start_run setup", "garak_version": "0.17.1"},
    {"entry_type": "eval", "probe": "dan.AntiDAN", "detector": "dan.AntiDAN", "passed": 3, "total_evaluated": 4},
    {"entry_type": "eval", "probe": "dan.AntiDAN", "detector": "mitigation.X", "passed": 0, "total_evaluated": 0},
]
SCORED = {
    "status": "success",
    "results": {
        "total_samples": 2,
        "scores": [{"name": "includes", "metrics": {"accuracy": {"name": "accuracy", "value": 0.5}}}],
    },
}


def test_a_report_of_garak(tmp_path: Path) -> None:
    report = tmp_path / "out.report.jsonl"
    report.write_text("\n".join(map(json.dumps, GARAK)))
    assert list(suites._of_garak(report, "dan.AntiDAN")) == [
        {
            "suite": "garak:dan.AntiDAN",
            "metric": "resisted/dan.AntiDAN/dan.AntiDAN",
            "value": 0.75,
            "samples": 4,
            "answers": 1,
        }
    ]


def test_a_log_of_inspect(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    log.write_text(json.dumps(SCORED))
    [row] = suites._of_inspect(log, "/somewhere/task.py@animals")
    assert (row["suite"], row["metric"], row["value"], row["samples"]) == (
        "inspect:task.py@animals",
        "includes/accuracy",
        0.5,
        2,
    )
    log.write_text(json.dumps({"status": "error", "error": {"message": "no such model\nat line 3"}}))
    with pytest.raises(SwarmError, match="failed: no such model"):
        list(suites._of_inspect(log, "t"))


def test_what_is_not_installed_is_said_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    subject = Subject(tmp_path)
    with pytest.raises(UsageError) as one:
        suites.garak(subject, "dan.AntiDAN")
    assert "pipx install garak" in one.value.remedy
    with pytest.raises(UsageError) as other:
        suites.inspect(subject, "t.py")
    assert "garage-swarm[redteam]" in other.value.remedy
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as third:
        lmeval.require()
    assert "garage-swarm[evals]" in third.value.remedy


def test_an_adapter_is_nothing_for_them(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UsageError, match="this is an adapter"):
        suites._whole(Subject(tmp_path))


# ── the libraries themselves ─────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("model"), ["The cat sat on the mat. " * 50], steps=60)


def said(*arguments: str) -> tuple[int, dict[str, object], str]:
    """Exit code, JSON and words of a command."""
    command = [sys.executable, "-m", "swarm.cli", *arguments, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=environment)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")
@pytest.mark.long
def test_a_task_of_ones_own_without_a_network(folder: Path, tmp_path: Path) -> None:
    animal = {"question": "The cat sat on the", "choices": [" mat", " xylophone"], "answer": 0}
    (tmp_path / "animals.jsonl").write_text("\n".join([json.dumps(animal)] * 8))
    (tmp_path / "animals.yaml").write_text(TASK.format(file=tmp_path / "animals.jsonl"))
    code, found, words = said("evaluate", str(folder), "--suite", "lm-eval:animals", "--tasks", str(tmp_path))
    assert code == 0, words
    row = {"suite": "lm-eval:animals", "metric": "acc", "value": 1.0, "samples": 8, "answers": 1}
    assert found["evaluations"] == [row]
    code, _, words = said("evaluate", str(folder), "--suite", "lm-eval:no-such-task")
    assert (code, "has no task 'no-such-task'" in words) == (2, True)


@pytest.mark.skipif(shutil.which("inspect") is None, reason="Inspect is not installed")
@pytest.mark.long
def test_a_task_of_inspect(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(INSPECT)
    code, found, words = said("redteam", "run", str(folder), "--probes", f"inspect:{tmp_path / 'task.py'}@animals")
    assert code == 0, words
    accuracy = [row for row in found["evaluations"] if row["metric"] == "includes/accuracy"]  # type: ignore[attr-defined]
    assert [(row["value"], row["samples"]) for row in accuracy] == [(0.5, 2)]


@pytest.mark.skipif(shutil.which("garak") is None, reason="garak is not installed")
@pytest.mark.long
def test_a_probe_of_garak(folder: Path) -> None:
    code, found, words = said("redteam", "run", str(folder), "--probes", "garak:dan.AntiDAN")
    assert code == 0, words
    assert {row["metric"] for row in found["evaluations"]} >= {"resisted/dan.AntiDAN/dan.AntiDAN"}  # type: ignore[attr-defined]
