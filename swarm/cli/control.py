"""`swarm pause`, `swarm resume`, `swarm stop`: a word to the peers that run on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from swarm import control, paths
from swarm.cli.options import AsJson, DataDir
from swarm.cli.output import say
from swarm.errors import NotFoundError, SwarmError, UsageError

RunName = Annotated[
    str, typer.Option("--run", help="The run's name; by default all peers of this machine.", show_default=False)
]
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def pause(
    run: RunName = "",
    data_dir: DataDir = None,
    length: Annotated[
        str, typer.Option("--for", help="How long: 90s, 20m, 2h, 1d; by default until `swarm resume`.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Pause training after the round that is going on; the GPU's memory becomes free."""
    _tell_all({"do": "pause", "seconds": seconds(length) if length else 0}, run, data_dir, as_json)


def resume(run: RunName = "", data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Take back a pause; your settings (`swarm config`) go on."""
    _tell_all({"do": "resume"}, run, data_dir, as_json)


def stop(run: RunName = "", data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Leave, as Ctrl-C does."""
    _tell_all({"do": "stop"}, run, data_dir, as_json)


def seconds(text: str) -> float:
    """`text` as seconds: 90s, 20m, 2h, 1d. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *(s|m|min|h|d)", text.strip())
    if not found:
        raise UsageError(f"{text!r} is no length of time.", "Write it as 90s, 20m, 2h or 1d.")
    return float(found[1]) * _UNITS[found[2]]


def _tell_all(request: dict[str, Any], run: str, data_dir: Path | None, as_json: bool) -> None:
    from swarm.cli.output import echo_json

    answers: dict[str, str] = {}
    for folder in _folders(run, data_dir):
        try:
            answers[folder.name] = str(control.ask(folder, request)["says"])
        except NotFoundError:
            if run or data_dir:
                raise
        except SwarmError as error:
            answers[folder.name] = str(error)
    if not answers:
        raise NotFoundError("No peer is running on this machine.", "`swarm join` starts one.")
    if as_json:
        echo_json(answers)
        return
    for name, says in answers.items():
        say(f"{name}: {says}")


def _folders(run: str, data_dir: Path | None) -> list[Path]:
    if data_dir or run:
        return [data_dir or paths.peer_dir(run)]
    return sorted(folder for folder in paths.peers().glob("*") if folder.is_dir())
