"""`swarm discover`: runs on the local network."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import AsJson
from swarm.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from swarm.discovery import Choice, FoundRun
    from swarm.invite import Invite

Seconds = Annotated[float, typer.Option("--seconds", min=0.5, help="How long to wait for answers.")]


def discover(seconds: Seconds = 3.0, as_json: AsJson = False) -> None:
    """List the runs that are announced on the local network."""
    from swarm import discovery
    from swarm.cli.output import echo_json

    found, choice = discovery.discover(seconds)
    if as_json:
        rows = [{**vars(item), "invite": str(item.invite) if item.invite else "", "open": item.open} for item in found]
        echo_json({"runs": rows, "looked_at": choice.addresses, "left_out": dict(choice.left_out)})
        return
    if not found:
        typer.echo(nothing(choice))
    for number, item in enumerate(found, 1):
        typer.echo(line(number, item))


def pick(yes: bool) -> Invite:
    """The invite of an open run on the local network: the volunteer's choice. Raises NotFoundError, UsageError."""
    from swarm import discovery

    typer.echo("Looking for runs on the local network …", err=True)
    found, choice = discovery.discover(3.0)
    if not found:
        raise NotFoundError(nothing(choice), "Ask the maintainer for an invite.")
    for number, item in enumerate(found, 1):
        typer.echo(line(number, item), err=True)
    chosen = found[_number(found, yes) - 1]
    if chosen.invite is None:
        raise UsageError(f"The run {chosen.run} takes only who has an invite.", "Ask its maintainer for one.")
    return chosen.invite


def nothing(choice: Choice) -> str:
    """Why there may be nothing, for a person to check."""
    left = "; ".join(f"{name} is {why}" for name, why in choice.left_out.items())
    return (
        f"No run is announced on the local network (looked at {', '.join(choice.addresses)}"
        f"{f'; left out: {left}' if left else ''}). A Wi-Fi that keeps its guests apart hides them, too."
    )


def line(number: int, item: FoundRun) -> str:
    """One run."""
    door = "open to this network" if item.open else "needs an invite"
    return f"{number}  {item.run:<24}{item.title:<32}{item.host}:{item.port}  {item.fingerprint[:16]}  {door}"


def _number(found: list[FoundRun], yes: bool) -> int:
    open_ones = [number for number, item in enumerate(found, 1) if item.open]
    if yes and len(open_ones) == 1:
        return open_ones[0]
    if not sys.stdin.isatty():
        raise UsageError("Which run is meant cannot be asked here.", "Give an invite.")
    answer: int = typer.prompt("Which one?", type=int, default=(open_ones or [1])[0], err=True)
    if not 1 <= answer <= len(found):
        raise UsageError(f"There is no run number {answer}.", f"Choose one of 1 to {len(found)}.")
    return answer
