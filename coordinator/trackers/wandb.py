"""Weights & Biases: the project WANDB_PROJECT, by default garage-swarm, of whoever is logged in on this machine."""

from __future__ import annotations

import os
from typing import Any

import wandb

from coordinator.trackers import About, Point


class WandB:
    """One run of wandb's."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def note(self, point: Point) -> None:
        """By round and not by wandb's own step, which must not fall."""
        self._run.log({"round": point.round, **point.numbers})

    def close(self) -> None:
        self._run.finish()


def begin(about: About) -> WandB:
    """Without a key everything is kept in the run's folder `wandb`, and `wandb sync` sends it: nobody is asked for one,
    because nobody may be there.
    """
    known = os.environ.get("WANDB_MODE") or wandb.login(prompt=False)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "garage-swarm"),
        id=about.id,
        name=about.run,
        resume="allow",
        dir=str(about.folder),
        config=dict(about.settings),
        mode=None if known else "offline",
        settings=wandb.Settings(console="off", silent=True),
    )
    run.define_metric("*", step_metric="round")
    return WandB(run)
