"""`swarm evaluate`: figures of a checkpoint, here or by the run's volunteers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import AsJson, BaseFolder, Device
from swarm.cli.output import say
from swarm.errors import UsageError
from swarm.trials.names import EVALUATE, HELDOUT

if TYPE_CHECKING:
    from swarm.cli.trialing import Machine, Subject

CheckpointText = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A model folder, a bundle, or a run's invite; with --spread a run on this machine, or its maintainer's "
        "invite.",
    ),
]
RoundOfRun = Annotated[
    int | None, typer.Option("--round", min=0, help="Of a run: which one; by default the latest.", show_default=False)
]
Threads = Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0 takes one for each core.")]
Spread = Annotated[
    bool, typer.Option("--spread", help="Let the run's volunteers compute it: each unit twice, and compared.")
]


def evaluate(
    checkpoint: CheckpointText,
    suites: Annotated[
        list[str] | None,
        typer.Option("--suite", help="heldout, or lm-eval:TASK; several times for several.", show_default=False),
    ] = None,
    round_: RoundOfRun = None,
    heldout: Annotated[
        Path | None,
        typer.Option("--heldout", help="A run's held-out file, for a folder.", exists=True, show_default=False),
    ] = None,
    tasks: Annotated[
        Path | None,
        typer.Option("--tasks", help="A folder with tasks of your own, for lm-eval.", exists=True, show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Only so many items of each suite; 0 takes all.")] = 0,
    base: BaseFolder = None,
    device: Device = "auto",
    threads: Threads = 0,
    spread: Spread = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model: on its run's held-out samples, or with tasks of lm-evaluation-harness."""
    from dataclasses import replace

    from swarm.cli import trialing
    from swarm.cli.campaigns import begin
    from swarm.cli.output import echo_json

    wanted = suites or [HELDOUT]
    if spread:
        for suite in wanted:
            begin(checkpoint, EVALUATE, suite, round_, as_json)
        return
    subject = trialing.named(checkpoint, round_, base, lambda text: say(text, err=True))
    subject = replace(subject, heldout=heldout or subject.heldout)
    found = [
        row for suite in wanted for row in _measured(subject, suite, trialing.Machine(device, threads), tasks, limit)
    ]
    if as_json:
        echo_json({"checkpoint": subject.name, "state": subject.state, "evaluations": found})
    else:
        say("\n".join([subject.name, *trialing.rows(found)]))


def _measured(subject: Subject, suite: str, machine: Machine, tasks: Path | None, limit: int) -> list[dict[str, Any]]:
    """The figures of one suite, as in a bundle's manifest. Raises UsageError for an unknown one."""
    from swarm.cli import trialing

    if suite == HELDOUT:
        from swarm.trials.suites import figures

        with trialing.scratch() as log:
            items = trialing.examined(subject, machine, log, (0, limit), trialing.heldout(subject))
        found: list[dict[str, Any]] = figures(EVALUATE, HELDOUT, items, 1)["figures"]
        return found
    name, _, task = suite.partition(":")
    if name == "lm-eval" and task:
        from swarm.cli.suites import lm_eval

        return lm_eval(subject, machine, task, tasks, limit)
    raise UsageError(f"There is no suite {suite!r}.", "Suites are heldout, and lm-eval:TASK.")
