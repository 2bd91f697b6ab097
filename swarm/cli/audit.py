"""`swarm audit`: who changed who may take part, and who was refused."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any

import typer

from swarm.cli.options import AsJson, DataDir, RunHere
from swarm.cli.output import say


def audit(
    run: RunHere = "",
    last: Annotated[int, typer.Option("--last", min=1, help="How many lines, the newest.")] = 100,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show who joined, left, was banned, was refused, or made and revoked invites, and from where."""
    from coordinator.audit import read
    from swarm.cli import rundir
    from swarm.cli.output import echo_json

    found = list(deque(read(rundir.named(run, data_dir)), last))
    if as_json:
        echo_json(found)
        return
    for item in found:
        say(_sentence(item))


def _sentence(item: dict[str, Any]) -> str:
    """2026-03-01T10:00:00+00:00  Join  refused (BANNED)  c0ffee4200000000  invite 1a2b3c4d  192.0.2.1  The main…"""
    parts = [
        item.get("at", ""),
        item.get("call") or "by rule",
        f"refused ({item['refused']})" if item.get("refused") else "",
        item.get("about", ""),
        f"invite {item['invite']}" if item.get("invite") else "",
        item.get("address", ""),
        item.get("why", ""),
        f"({item['left_out']} refusals before it were not written)" if item.get("left_out") else "",
    ]
    return "  ".join(filter(None, parts))
