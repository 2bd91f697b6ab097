"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_INVITE = "The invite, swarm://HOST:PORT/RUN?fp=…&token=…, in quotes; a file that holds it; or the name of a run here"
InviteText = Annotated[str, typer.Argument(metavar="INVITE", help=f"{_INVITE}.")]
InviteOrOnly = Annotated[
    str,
    typer.Argument(metavar="[INVITE]", help=f"{_INVITE}; by default the only one that is here.", show_default=False),
]
RunHere = Annotated[
    str,
    typer.Argument(metavar="[RUN]", help="A run on this machine; by default the only one here.", show_default=False),
]
BaseFolder = Annotated[
    Path | None,
    typer.Option("--base", help="The base's folder, for an adapter.", exists=True, file_okay=False, show_default=False),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, rocm, rocm:1 or mps.")]
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
