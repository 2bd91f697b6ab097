"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

InviteText = Annotated[
    str,
    typer.Argument(
        metavar="INVITE", help="The invite: swarm://HOST:PORT/RUN?fp=…&token=…, in quotes; or a file that holds it."
    ),
]
InviteOrNothing = Annotated[
    str | None,
    typer.Argument(
        metavar="[INVITE]",
        help="The invite, in quotes, or a file that holds it; without one the runs on the local network are offered.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where the files are kept; by default below $SWARM_HOME.", show_default=False),
]
Metrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        metavar="[HOST:]PORT",
        help="Serve metrics for Prometheus there; without a host to this machine only. Port 0 takes a free one.",
        show_default=False,
    ),
]
PlainHttp = Annotated[
    bool, typer.Option("--plain-http", help="Without TLS; only for a registry on this machine, for tests.")
]
