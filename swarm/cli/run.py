"""`swarm run`: how a run goes on; for its maintainer."""

from __future__ import annotations

from typing import Annotated

import typer

from swarm.cli.maintain import RunName, maintaining
from swarm.cli.options import DataDir
from swarm.cli.output import say

app = typer.Typer(name="run", help="Let a run pause, go on, or end; for its maintainer.", no_args_is_help=True)

Why = Annotated[str, typer.Option("--why", help="The reason; members are told.")]


@app.command("pause")
def pause(why: Why = "", run: RunName = "", data_dir: DataDir = None) -> None:
    """Lend no more samples. What is lent is trained on and counts; members stay and wait until the run goes on."""
    with maintaining(run, data_dir) as client:
        found = client.steer("paused", why)
    say(f"{client.invite.run} is paused, in round {found.round}; `swarm run resume` lets it go on")


@app.command("resume")
def resume(why: Why = "", run: RunName = "", data_dir: DataDir = None) -> None:
    """Let a paused run go on; also one that was finished before its last round, for members that join again."""
    with maintaining(run, data_dir) as client:
        found = client.steer("on", why)
    say(f"{client.invite.run} goes on, in round {found.round}")


@app.command("finish")
def finish(why: Why = "", run: RunName = "", data_dir: DataDir = None) -> None:
    """End a run before its last round: members hand over the newest state and leave, within two minutes."""
    with maintaining(run, data_dir) as client:
        found = client.steer("finished", why)
    say(f"{client.invite.run} ends after round {found.round}; `swarm checkpoints list` shows its last state")
