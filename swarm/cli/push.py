"""`swarm push`: a bundle into a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.options import PlainHttp

Target = Annotated[
    str, typer.Argument(metavar="REGISTRY/NAME[:TAG]", help="Where to; the tag is the bundle's version by default.")
]


def push(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    target: Target,
    plain_http: PlainHttp = False,
) -> None:
    """Put a bundle into a registry; what is there already is not sent again."""
    from swarm import paths
    from swarm.bundle.push import packed
    from swarm.bundle.push import push as bring
    from swarm.bundle.reference import Reference
    from swarm.bundle.registry import Registry
    from swarm.cli.carrying import shown

    reference = Reference.of(target)
    cargo = packed(bundle)
    registry = Registry.of(reference, plain_http, writes=True)
    tag = reference.tag or cargo.bundle.version
    with shown("pushing", sum(blob.size for blob in cargo.blobs)) as journey:
        bring(bundle, cargo, registry, tag, paths.pushes(), journey)
    typer.echo(f"{reference.host}/{reference.name}:{tag}@sha256:{cargo.sha256}")
