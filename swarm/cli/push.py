"""`swarm push`: a bundle into a registry, or to the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.options import PlainHttp
from swarm.errors import UsageError

if TYPE_CHECKING:
    from swarm.bundle.push import Cargo

Target = Annotated[
    str,
    typer.Argument(
        metavar="[REGISTRY/NAME[:TAG] | hf:ORG/NAME]",
        help="Where to: a registry, with the bundle's version as tag by default; or the Hugging Face Hub.",
        show_default=False,
    ),
]


def push(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    target: Target = "",
    *,
    plain_http: PlainHttp = False,
    private: Annotated[bool, typer.Option("--private", help="On the hub: a new repository is private.")] = False,
    torrent: Annotated[
        Path | None, typer.Option("--torrent", help="Write a torrent file of the bundle there.", show_default=False)
    ] = None,
    web_seed: Annotated[
        list[str] | None,
        typer.Option("--web-seed", help="Of the torrent: the address of the folder that holds NAME-VERSION/."),
    ] = None,
) -> None:
    """Put a bundle into a registry, where what is there already is not sent again; or to the hub, or into a torrent."""
    from swarm.bundle import hub
    from swarm.bundle import torrent as torrents
    from swarm.bundle.push import packed

    _require_somewhere(target, torrent, web_seed)
    cargo = packed(bundle)
    if torrent:
        typer.echo(torrents.write(bundle, cargo, web_seed or [], torrent))
    if target.startswith(hub.SCHEME):
        typer.echo(hub.upload(bundle, cargo, hub.repository(target), private))
    elif target:
        typer.echo(_to_registry(bundle, cargo, target, plain_http))


def _require_somewhere(target: str, torrent: Path | None, web_seed: list[str] | None) -> None:
    if not target and not torrent:
        raise UsageError("Where to?", "Name REGISTRY/NAME:TAG or hf:ORG/NAME, or a file with --torrent.")
    if web_seed and not torrent:
        raise UsageError("--web-seed is said in a torrent file.", "Add --torrent FILE.")


def _to_registry(bundle: Path, cargo: Cargo, target: str, plain_http: bool) -> str:
    """The place with its digest."""
    from swarm import paths
    from swarm.bundle.push import push as bring
    from swarm.bundle.reference import Reference
    from swarm.bundle.registry import Registry
    from swarm.cli.carrying import shown

    reference = Reference.of(target)
    registry = Registry.of(reference, plain_http, writes=True)
    tag = reference.tag or cargo.bundle.version
    with shown("pushing", sum(blob.size for blob in cargo.blobs)) as journey:
        bring(bundle, cargo, registry, tag, paths.pushes(), journey)
    return f"{reference.host}/{reference.name}:{tag}@sha256:{cargo.sha256}"
