"""`swarm doctor`: whether this machine can take part in a run, without joining it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from swarm.cli.options import AsJson, InviteText

if TYPE_CHECKING:
    from swarm.client import CoordinatorClient

_CALLS = 5


def doctor(invite: InviteText, as_json: AsJson = False) -> None:
    """Say whether the coordinator answers, whether the clocks agree, and how others reach this machine."""
    from swarm.cli.output import echo_json
    from swarm.client import CoordinatorClient
    from swarm.invite import Invite

    with CoordinatorClient.connect(Invite.parse(invite)) as client:
        found = _examine(client)
    if as_json:
        echo_json(found)
    else:
        _print(found)


def _examine(client: CoordinatorClient) -> dict[str, Any]:
    from peer import reach

    round_trip = min(_seconds(client) for _ in range(_CALLS))
    began = time.time()
    port, answer = reach.ask(client)
    own = reach.own_addresses()
    found = reach.decide(own, port, answer)
    return {
        "coordinator": client.invite.address,
        "round_trip_seconds": round_trip,
        "clock_ahead_seconds": began + round_trip / 2 - answer.server_time,
        "addresses": sorted(own),
        "seen_as": answer.observed_host,
        "port": port,
        "case": found.case.value,
        "relayed": found.relayed,
        "why": found.why,
    }


def _seconds(client: CoordinatorClient) -> float:
    began = time.perf_counter()
    client.list_runs()
    return time.perf_counter() - began


def _print(found: dict[str, Any]) -> None:
    typer.echo(f"coordinator  {found['coordinator']} answers within {found['round_trip_seconds'] * 1000:.0f} ms")
    typer.echo(f"clock        {_clock(found['clock_ahead_seconds'])}")
    typer.echo(f"addresses    {', '.join(found['addresses']) or 'none'}; seen as {found['seen_as']}")
    typer.echo(f"network      {found['why']}")


def _clock(ahead: float) -> str:
    if abs(ahead) < 1.0:
        return "agrees with the coordinator's"
    return f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the coordinator's; set it by the network's time"
