"""`swarm pull`: a bundle out of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.options import PlainHttp
from swarm.cli.output import say
from swarm.errors import UsageError


def pull(
    source: Annotated[
        str, typer.Argument(metavar="REGISTRY/NAME:TAG[@sha256:…]", help="The bundle; with a digest exactly that one.")
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="A new folder; by default named as the bundle.", show_default=False),
    ] = None,
    plain_http: PlainHttp = False,
) -> None:
    """Fetch a bundle from a registry into a folder that is there as a whole or not at all."""
    from swarm.bundle.pull import described
    from swarm.bundle.pull import pull as fetch
    from swarm.bundle.reference import Reference
    from swarm.bundle.registry import Registry
    from swarm.cli.carrying import shown

    reference = Reference.of(source)
    if not reference.wanted:
        raise UsageError(f"{source} names no version.", f"Add its tag or digest, such as {source}:1.0.")
    registry = Registry.of(reference, plain_http, writes=False)
    target = folder or Path(reference.name.rpartition("/")[2])
    files, sha256 = described(registry)
    with shown("pulling", sum({file.sha256: file.size for file in files}.values())) as journey:
        bundle = fetch(registry, files, target, journey)
    say(f"{target}: {bundle.name} {bundle.version}, sha256:{sha256}. swarm verify says who signed it.")
