"""A task of lm-evaluation-harness on a model folder: `python -m peer.lmeval`, a child of `swarm evaluate`.

The last line is {"evaluations": […]}, each as in a bundle's manifest, or {"error", "what", "remedy"}. The library, of
the extra `evals`, is loaded here and nowhere else.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from peer.device import choose, hardware
from peer.telling import errors_told, say
from swarm import extras, lifetime
from swarm.errors import DataError, UsageError
from swarm.trials import offline


def evaluate(folder: Path, base: Path | None, task: str, tasks: Path | None, limit: int, device: str) -> list[Any]:
    """The task's figures, without their standard errors. Raises UsageError, DataError."""
    require()
    told = offline.environment()
    os.environ |= told
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks) if tasks else None)
    if not manager.match_tasks([task]):
        raise UsageError(
            f"lm-evaluation-harness has no task {task!r}.",
            "`lm_eval ls tasks` lists its own; name the folder of your own with --tasks.",
        )
    try:
        manager.load([task])  # its data, before a model is loaded
        found = _measured(_model(folder, base), task, manager, limit, device)
    except (OSError, ValueError) as error:  # datasets has many, all of them one of these
        raise _not_loaded(task, bool(told), error) from error
    return [row for name in sorted(found["results"]) for row in _figures(name, found)]


def _measured(model: dict[str, object], task: str, manager: Any, limit: int, device: str) -> Any:
    import lm_eval

    return lm_eval.simple_evaluate(
        model="hf",
        model_args=model,
        tasks=[task],
        task_manager=manager,
        limit=limit or None,
        device=choose(device, hardware()).device,
        bootstrap_iters=0,
        log_samples=False,
    )


def require() -> None:
    """Raises UsageError that says how to install the library."""
    extras.require("evals", "A task of lm-evaluation-harness", "lm_eval")


def _model(folder: Path, base: Path | None) -> dict[str, object]:
    """What its class for transformers' models takes."""
    adapts = (folder / "adapter_config.json").is_file()
    weights: dict[str, object] = (
        {"pretrained": str(base), "peft": str(folder)} if adapts else {"pretrained": str(folder)}
    )
    return {**weights, "dtype": "float32", "trust_remote_code": False, "batch_size": 1}


def _figures(name: str, found: Any) -> list[dict[str, Any]]:
    count = int(found["n-samples"].get(name, {}).get("effective", 0))
    values = {key.partition(",")[0]: value for key, value in found["results"][name].items()}
    return [
        {"suite": f"lm-eval:{name}", "metric": metric, "value": float(value), "samples": count, "answers": 1}
        for metric, value in sorted(values.items())
        if isinstance(value, int | float) and not metric.endswith("_stderr") and metric != "sample_len"
    ]


def _not_loaded(task: str, away: bool, error: Exception) -> DataError:
    first = str(error).strip().partition("\n")[0]
    if away:
        return DataError(
            f"The task {task} needs data that is not on this machine, and the hub is out of reach: {first}",
            "Run it once on a machine with a network and copy its cache, or name a task of your own with --tasks.",
        )
    return DataError(f"The task {task} cannot be loaded: {first}", "Look at its YAML file, and at its data.")


def main() -> None:
    lifetime.follow_parent()
    parser = argparse.ArgumentParser(prog="python -m peer.lmeval")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--task", required=True)
    parser.add_argument("--tasks", type=Path, help="a folder with tasks of one's own")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--device", default="auto")
    said = parser.parse_args()
    with errors_told("evaluating the model"):
        found = evaluate(said.model, said.base, said.task, said.tasks, said.limit, said.device)
        say({"evaluations": found})


if __name__ == "__main__":
    main()
