"""Suites of others: lm-evaluation-harness through its Python interface, garak and Inspect through their programs.

They run here alone, and never by volunteers: their tasks are programs, and many fetch data.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from swarm.errors import SwarmError, UsageError
from swarm.trials import offline

if TYPE_CHECKING:
    from swarm.cli.trialing import Machine, Subject

Figures = list[dict[str, Any]]

_SECONDS = 6 * 3600.0  # for a program of others
_TOKENS = 64  # of an answer, as in the project's own probes
_GARAK = "It needs other versions of libraries than this program; install it beside, with: pipx install garak"
_INSPECT = 'Install it with: pip install "garage-swarm[redteam]"'


def lm_eval(subject: Subject, machine: Machine, task: str, tasks: Path | None, limit: int) -> Figures:
    """A task of lm-evaluation-harness. Raises UsageError without the extra or for an unknown task, DataError."""
    from swarm.cli import trialing
    from swarm.cli.children import run_child

    found: list[Figures] = []
    where = ["--model", subject.folder, *(["--base", subject.base] if subject.base else [])]
    what = ["--task", task, *(["--tasks", tasks] if tasks else []), "--limit", limit, "--device", machine.device]
    with trialing.scratch() as log:
        arguments = [str(part) for part in (*where, *what)]
        run_child("peer.lmeval", arguments, log, lambda line: found.append(line.get("evaluations", [])))
    return found[-1] if found else []


def garak(subject: Subject, probe: str) -> Figures:
    """A probe of garak: for each of its detectors, how much the model resisted. Raises UsageError, SwarmError."""
    program = _program("garak", _GARAK)
    with TemporaryDirectory(prefix="swarm-") as folder:
        prefix = Path(folder) / "out"
        target = ["--target_type", "huggingface", "--target_name", str(_whole(subject))]
        drawn = ["--generations", "1", "--seed", "0", "--report_prefix", str(prefix)]
        _run([program, *target, "--probes", probe, *drawn], "garak")
        return list(_of_garak(Path(f"{prefix}.report.jsonl"), probe))


def _of_garak(report: Path, probe: str) -> Iterator[dict[str, Any]]:
    for line in report.read_text(encoding="utf-8").splitlines() if report.exists() else []:
        said = json.loads(line)
        if said.get("entry_type") == "eval" and said["total_evaluated"]:
            count, metric = said["total_evaluated"], f"resisted/{said['probe']}/{said['detector']}"
            yield _figure(f"garak:{probe}", metric, said["passed"] / count, count)


def inspect(subject: Subject, task: str) -> Figures:
    """A task of Inspect (a file, FILE.py@TASK, or a name that it knows): its scores. Raises UsageError, SwarmError."""
    program = _program("inspect", _INSPECT)
    with TemporaryDirectory(prefix="swarm-") as folder:
        model = ["--model", "hf/local", "-M", f"model_path={_whole(subject).resolve()}", "-M", "do_sample=false"]
        drawn = ["--max-tokens", str(_TOKENS)]
        kept = ["--display", "none", "--log-format", "json", "--log-dir", folder]
        _run([program, "eval", task, *model, *drawn, *kept], "Inspect")
        return [row for log in sorted(Path(folder).glob("*.json")) for row in _of_inspect(log, task)]


def _of_inspect(log: Path, task: str) -> Iterator[dict[str, Any]]:
    """Raises SwarmError when the task did not come to its end."""
    said = json.loads(log.read_text(encoding="utf-8"))
    if said["status"] != "success":
        why = str((said.get("error") or {}).get("message", said["status"])).partition("\n")[0]
        raise SwarmError(f"The task {task} of Inspect failed: {why}", "Run it with `inspect eval` to see all of it.")
    for score in said["results"]["scores"]:
        for metric in score["metrics"].values():
            name, count = f"{score['name']}/{metric['name']}", int(said["results"]["total_samples"])
            yield _figure(f"inspect:{Path(task).name}", name, metric["value"], count)


def _figure(suite: str, metric: str, value: float, samples: int) -> dict[str, Any]:
    return {"suite": suite, "metric": metric, "value": float(value), "samples": samples, "answers": 1}


def _whole(subject: Subject) -> Path:
    """The folder, when it holds all weights."""
    if (subject.folder / "adapter_config.json").is_file():
        raise UsageError(
            "Programs of others load whole models, and this is an adapter.", "Export it with `swarm export --merged`."
        )
    return subject.folder


def _program(name: str, remedy: str) -> str:
    """Where the program is: beside this one, or on the path. Raises UsageError that says how to install it."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise UsageError(f"The program {name} is not installed here.", remedy)
    return found


def _run(command: Sequence[str], name: str) -> None:
    """Let it run to its end. Raises SwarmError with its last words."""
    environment = {**os.environ, **offline.environment()}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise SwarmError(f"{name} did not end within {_SECONDS / 3600:.0f} hours.", "Take a smaller task.") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise SwarmError(f"{name} failed: {last[:300]}", f"Run it yourself to see all of it: {' '.join(command[:2])} …")
